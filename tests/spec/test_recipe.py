"""Checks that need only the recipe itself."""

from __future__ import annotations

import pytest

from edgekit.errors import SpecError
from edgekit.spec.data import DataSpec, Unlabeled
from edgekit.spec.distill import Distill
from edgekit.spec.quantize import Convert
from edgekit.spec.recipe import ModelSpec, Recipe, Step
from edgekit.spec.steps import Finetune
from edgekit.spec.training import Losses

DATA = DataSpec("jsonl", files=("a.jsonl",), unlabeled=Unlabeled("text", files=("more.txt",)))


def recipe(*steps: Step) -> Recipe:
    return Recipe("mine", ModelSpec(path="x"), DATA, steps)


@pytest.mark.parametrize("scheme", ["w16_a32_float", "w8_a8_static"])
def test_a_scheme_no_format_holds_is_refused(scheme: str) -> None:
    with pytest.raises(SpecError, match="none of the formats can hold this scheme") as caught:
        Convert(formats=("ptl",), schemes=("w32_a32_float", scheme))  # type: ignore[arg-type]
    assert caught.value.given == scheme
    assert caught.value.where == "$.schemes"


def test_a_scheme_one_of_the_formats_holds_is_enough() -> None:
    assert Convert(formats=("tflite", "ptl"), schemes=("w32_a32_float", "w8_a8_static"))


def test_texts_without_labels_need_a_step_that_learns_from_logits() -> None:
    distill = Distill(layers=(0,))
    assert recipe(Step(distill=distill)).data.unlabeled
    for steps in ((), (Step(finetune=Finetune()),), (Step(distill=Distill(layers=(0,), losses=Losses(logits=0.0))),)):
        with pytest.raises(SpecError, match="teach through a teacher's logits") as caught:
            recipe(*steps)
        assert caught.value.where == "$.data.unlabeled"
    with pytest.raises(SpecError, match="logits only"):
        recipe(Step(distill=Distill(layers=(0,), losses=Losses(hidden=0.1))))


def test_texts_without_labels_need_a_source() -> None:
    for source in ("jsonl", "csv", "text"):
        with pytest.raises(SpecError, match="needs files"):
            Unlabeled(source)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="data set's name"):
        Unlabeled("hf")
    with pytest.raises(SpecError, match="too small"):
        Unlabeled("text", files=("a",), limit=0)
