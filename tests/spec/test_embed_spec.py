"""A recipe that embeds texts: what it may ask for, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from edgekit.errors import SpecError
from edgekit.spec import codec
from edgekit.spec.recipe import Recipe

DATA = {"source": "text", "files": ["a.txt"]}
QUIET = {"label": 0, "logits": 0, "embedding": 1}


def recipe(**changed: Any) -> Recipe:
    plain = {"name": "x", "task": "embed", "model": {"path": "bert"}, "data": DATA}
    return codec.decode(Recipe, {**plain, **changed})


def test_a_recipe_of_embeddings_bounds_cosines_and_learns_from_the_model_as_it_is() -> None:
    made = recipe(
        gates={"mean_cosine": 0.99, "least_cosine": 0.9, "accuracy_drop": 5},
        model={"path": "bert", "pooling": "first"},
        compress=[
            {"vocabulary": {}},
            {"distill": {"losses": QUIET}},
            {"prune": {"ffn": 32, "epochs": 0, "criterion": "fpgm"}},
        ],
    )
    assert (made.gates.mean_cosine, made.model.pooling) == (0.99, "first")


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"data": {**DATA, "labels": ["a", "b"]}}, "$.data.labels"),
        ({"data": {**DATA, "unlabeled": DATA}}, "$.data.unlabeled"),
        ({"answers": {"unsure_below": 0.5}}, "$.answers"),
        ({"search": {"ranges": [{"path": "seed", "choices": [1, 2]}]}}, "$.search"),
        ({"compress": [{"finetune": {}}]}, "$.compress[0].finetune"),
        ({"compress": [{"distill": {}}]}, "$.compress[0].distill.losses.label"),
        ({"compress": [{"distill": {"losses": {**QUIET, "snapshot": 1}}}]}, "$.compress[0].distill.losses.snapshot"),
        ({"compress": [{"prune": {"ffn": 32, "epochs": 0}}]}, "$.compress[0].prune.criterion"),
        ({"gates": {"f1_drop": 1}}, "$.gates.f1_drop"),
        ({"gates": {"perplexity_rise": 1}}, "$.gates.perplexity_rise"),
    ],
)
def test_what_embeddings_have_not_is_refused_at_its_place(changed: dict[str, Any], where: str) -> None:
    with pytest.raises(SpecError) as caught:
        recipe(**changed)
    assert caught.value.where == where
    assert caught.value.remedy


@pytest.mark.parametrize("task", ["classify", "language", "tokens"])
@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"gates": {"mean_cosine": 0.9}}, "$.gates.mean_cosine"),
        ({"gates": {"least_cosine": 0.9}}, "$.gates.least_cosine"),
        ({"model": {"path": "bert", "pooling": "mean"}}, "$.model.pooling"),
    ],
)
def test_only_texts_that_are_embedded_have_cosines_and_pooling(task: str, changed: dict[str, Any], where: str) -> None:
    data = DATA if task == "language" else {"source": "jsonl", "files": ["a.jsonl"]}
    with pytest.raises(SpecError, match="only a text's embedding") as caught:
        recipe(task=task, data=data, **changed)
    assert caught.value.where == where
