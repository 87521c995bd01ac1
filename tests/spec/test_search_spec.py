"""A recipe's search: what it may range over, and how it says what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from edgekit.errors import SpecError
from edgekit.load import schema
from edgekit.spec import codec
from edgekit.spec.recipe import Recipe
from edgekit.spec.search import Range, candidate, takes_whole

BASE: dict[str, Any] = {
    "name": "mine",
    "model": {"path": "bert"},
    "data": {"source": "jsonl", "files": ["mine.jsonl"]},
    "compress": [
        {"finetune": {"epochs": 1}},
        {"prune": {"ffn": 64}},
        {"distill": {"layers": [0, 1], "learning_rate": 1e-3}},
    ],
}


def recipe(*ranges: dict[str, Any], **search: Any) -> Recipe:
    return codec.decode(Recipe, {**BASE, "search": {"ranges": list(ranges), **search}})


def refused(*ranges: dict[str, Any], **search: Any) -> SpecError:
    with pytest.raises(SpecError) as caught:
        recipe(*ranges, **search)
    return caught.value


FFN = {"path": "compress.1.prune.ffn", "low": 32, "high": 64, "step": 16}


def test_a_candidate_is_the_recipe_with_the_drawn_values_and_without_its_search() -> None:
    asked = recipe(FFN, {"path": "compress.2.distill.layers", "choices": [[0, 1], [1]]})
    drawn = candidate(asked, {"compress.1.prune.ffn": 32, "compress.2.distill.layers": [1]})
    assert drawn.search is None
    assert drawn.compress[1].prune is not None
    assert drawn.compress[1].prune.ffn == 32
    assert drawn.compress[2].distill is not None
    assert drawn.compress[2].distill.layers == (1,)
    assert drawn.compress[0] == asked.compress[0]


def test_a_value_that_the_file_leaves_out_may_be_ranged_over() -> None:
    asked = recipe({"path": "compress.2.distill.losses.hidden", "low": 0.0, "high": 1.0})
    drawn = candidate(asked, {"compress.2.distill.losses.hidden": 0.5})
    assert drawn.compress[2].distill is not None
    assert drawn.compress[2].distill.losses.hidden == 0.5
    assert drawn.compress[2].distill.losses.logits == 1.0


def test_whole_numbers_move_by_one_and_steps_include_both_ends() -> None:
    assert Range("x", low=1, high=4).values(whole=True) == (1, 2, 3, 4)
    assert Range("x", low=0.1, high=0.3, step=0.1).values(whole=False) == pytest.approx((0.1, 0.2, 0.3))
    assert Range("x", low=0.1, high=0.3).values(whole=False) is None
    asked = recipe(FFN)
    assert takes_whole(asked, asked.search.ranges[0], "$")  # type: ignore[union-attr]


def test_an_unknown_path_names_what_is_near() -> None:
    error = refused({"path": "compress.1.prune.fnn", "choices": [8, 16]})
    assert "compress.1.prune has no 'fnn'" in error.message
    assert "'ffn'" in str(error.remedy)
    assert error.where == "$.search.ranges[0].path"


def test_a_step_that_is_not_there_is_told_with_how_many_there_are() -> None:
    error = refused({"path": "compress.7.prune.ffn", "choices": [8, 16]})
    assert (error.given, error.allowed) == ("compress.7.prune.ffn", "0 to 2")


def test_every_choice_is_tried_on_its_own_before_anything_runs() -> None:
    error = refused({"path": "compress.2.distill.layers", "choices": [[0, 1], [1, 0]]})
    assert "invalid" in error.message
    assert error.where == "$.search.ranges[0].choices[1]"
    assert "[1,0]" in str(error.given)


def test_every_value_of_a_grid_is_tried() -> None:
    error = refused({"path": "compress.1.prune.ffn", "low": 32, "high": 64, "step": 20})
    assert "multiples of 8" in error.message
    assert "52" in str(error.given)


def test_another_kind_of_step_than_the_one_there_is_refused() -> None:
    error = refused({"path": "compress.1.distill.layers", "choices": [[0], [1]]})
    assert "exactly one" in error.message


@pytest.mark.parametrize(
    ("one", "said"),
    [
        ({"path": "seed", "low": 5, "high": 5}, "not below high"),
        ({"path": "seed", "low": 5}, "choices, or low and high"),
        ({"path": "seed", "choices": [1, 2], "low": 1}, "not both"),
        ({"path": "seed", "choices": [1]}, "no range"),
        ({"path": "seed", "choices": [1, 2, 1]}, "twice"),
        ({"path": "seed", "low": 0, "high": 5, "log": True}, "starts above 0"),
        ({"path": "seed", "low": 1, "high": 5, "log": True, "step": 1}, "contradict"),
        ({"path": "seed", "low": 1, "high": 5, "step": 0}, "above 0"),
        ({"path": "seed", "low": 1, "high": float("inf")}, "two ends"),
        ({"path": "seed", "low": float("nan"), "high": 5}, "two ends"),
        ({"path": "seed", "low": 1.5, "high": 5}, "takes whole numbers"),
        ({"path": "seed", "low": 1, "high": 5, "step": 0.5}, "takes whole numbers"),
        ({"path": "name", "low": 1, "high": 5}, "bound a number"),
        ({"path": "name.x", "choices": ["a", "b"]}, "nothing below"),
        ({"path": "search.trials", "choices": [3, 4]}, "the same for all candidates"),
        ({"path": "gates.size_mb", "low": 1, "high": 4}, "the same for all candidates"),
        ({"path": "data.train", "low": 100, "high": 400}, "the same for all candidates"),
    ],
)
def test_contradictory_ranges_are_refused(one: dict[str, Any], said: str) -> None:
    assert said in refused(one).message


def test_two_ranges_of_one_value_are_refused_also_where_one_holds_the_other() -> None:
    whole = {"path": "compress.1.prune", "choices": [{"ffn": 32}, {"ffn": 64}]}
    assert "two ranges set the same value" in refused(FFN, FFN).message
    assert "two ranges set the same value" in refused(whole, FFN).message


def test_editors_complete_a_search() -> None:
    found = schema(Recipe)
    assert set(found["$defs"]["Range"]["properties"]) == {"path", "choices", "low", "high", "step", "log"}
    assert "logarithmic" in found["$defs"]["Range"]["properties"]["log"]["description"]
    assert all("description" in one for one in found["$defs"]["Search"]["properties"].values())
