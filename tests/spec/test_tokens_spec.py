"""A recipe that labels words: what it may ask for, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from edgekit.errors import SpecError
from edgekit.spec import codec
from edgekit.spec.recipe import Recipe

DATA = {"source": "jsonl", "files": ["a.jsonl"]}


def recipe(**changed: Any) -> Recipe:
    plain = {"name": "x", "task": "tokens", "model": {"path": "bert"}, "data": DATA}
    return codec.decode(Recipe, {**plain, **changed})


def test_a_recipe_of_words_may_bound_f1_and_say_when_a_span_is_unsure() -> None:
    made = recipe(gates={"f1_drop": 1, "accuracy_drop": 1}, answers={"unsure_below": 0.7}, compress=[{"finetune": {}}])
    assert (made.task, made.gates.f1_drop, made.data.spans) == ("tokens", 1.0, "spans")
    assert recipe(data={**DATA, "labels": ["PER", "LOC"]}).data.labels == ("PER", "LOC")
    assert recipe(data={**DATA, "labels": ["O", "B-LOC", "I-LOC"]}).data.labels[0] == "O"


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"data": {"source": "csv", "files": ["a.csv"]}}, "$.data.source"),
        ({"data": {"source": "text", "files": ["a.txt"]}}, "$.data.source"),
        ({"answers": {"sure_accuracy": 99}}, "$.answers.sure_accuracy"),
        ({"compress": [{"distill": {"losses": {"self": 1}}}]}, "$.compress[0].distill.losses.self"),
        ({"compress": [{"distill": {"teachers": ["other"]}}]}, "$.compress[0].distill.teachers"),
        ({"search": {"ranges": [{"path": "seed", "choices": [1, 2]}]}}, "$.search"),
        ({"gates": {"perplexity_rise": 1}}, "$.gates.perplexity_rise"),
        ({"convert": {"generation": {"context": 64}}}, "$.convert.generation"),
    ],
)
def test_what_a_model_of_words_has_not_is_refused_at_its_place(changed: dict[str, Any], where: str) -> None:
    with pytest.raises(SpecError) as caught:
        recipe(**changed)
    assert caught.value.where == where
    assert caught.value.remedy


@pytest.mark.parametrize("task", ["classify", "language"])
def test_only_spans_have_an_f1(task: str) -> None:
    data = {"source": "text", "files": ["a.txt"]} if task == "language" else DATA
    with pytest.raises(SpecError, match="only spans have an F1") as caught:
        recipe(task=task, data=data, gates={"f1_drop": 1})
    assert caught.value.where == "$.gates.f1_drop"
