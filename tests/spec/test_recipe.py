"""Checks that need only the recipe itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgekit.errors import SpecError
from edgekit.spec.data import DataSpec, Unlabeled
from edgekit.spec.distill import Distill
from edgekit.spec.quantize import Convert
from edgekit.spec.recipe import ModelSpec, Recipe, Step
from edgekit.spec.steps import Finetune, Vocabulary
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


def test_texts_without_labels_need_a_step_that_learns_from_a_teacher() -> None:
    for losses in (Losses(), Losses(hidden=0.1), Losses(label=0.0, logits=0.0, embedding=1.0)):
        assert recipe(Step(distill=Distill(layers=(0,), losses=losses))).data.unlabeled
    labels_only = Step(distill=Distill(layers=(0,), losses=Losses(logits=0.0)))
    for steps in ((), (Step(finetune=Finetune()),), (labels_only,), (Step(distill=Distill()), labels_only)):
        with pytest.raises(SpecError, match="teach by a teacher's answers") as caught:
            recipe(*steps)
        assert caught.value.where == "$.data.unlabeled"


@pytest.mark.parametrize(
    ("options", "match", "where"),
    [
        ({"losses": Losses(logits=0.0), "teachers": (1,)}, "through their logits", "$.teachers"),
        ({"teachers": (1,), "teacher_weights": (1.0,)}, "one weight for the teacher", "$.teacher_weights"),
        ({"teachers": (1,), "teacher_weights": (0.0, 0.0)}, "not all 0", "$.teacher_weights"),
        ({"relation_heads": 4}, "no weight", "$.relation_heads"),
        ({"relation_layer": -1}, "too small", "$.relation_layer"),
        ({"snapshot_decay": 1.0}, "out of range", "$.snapshot_decay"),
        ({"losses": Losses(logits=0.0), "augment": 1}, "no label", "$.augment"),
        ({"augment": -1}, "too small", "$.augment"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], match: str, where: str) -> None:
    with pytest.raises(SpecError, match=match) as caught:
        Distill(**options)
    assert caught.value.where == where


def test_a_loss_is_left_out_by_its_weight_and_known_by_its_name() -> None:
    losses = Losses(label=0.0, self=0.5)
    assert losses.active == ("logits", "self")
    assert losses.weights()["self"] == 0.5
    assert losses.classify
    assert not Losses(label=0.0, logits=0.0, embedding=1.0).classify
    with pytest.raises(SpecError, match="nothing would be learned"):
        Losses(label=0.0, logits=0.0)
    with pytest.raises(SpecError, match="too small") as caught:
        Losses(hidden=-0.1)
    assert caught.value.where == "$.hidden"


def test_a_teacher_is_a_step_that_was_before() -> None:
    plain = replace(DATA, unlabeled=None)
    first, second = Step(finetune=Finetune()), Step(distill=Distill(teachers=(1, "folder")))
    assert Recipe("mine", ModelSpec(path="x"), plain, (first, second)).compress[1].distill
    for number, wrong in ((2, 2), (1, 1), (2, 0)):
        steps = (first, Step(distill=Distill(teachers=(wrong,))))[2 - number :]
        with pytest.raises(SpecError, match="earlier step") as caught:
            Recipe("mine", ModelSpec(path="x"), plain, steps)
        assert caught.value.where == f"$.compress[{number - 1}].distill.teachers"


def test_a_step_that_learns_no_labels_needs_no_classifier() -> None:
    free = Step(distill=Distill(losses=Losses(label=0.0, logits=0.0, embedding=1.0)))
    assert not free.needs_classifier
    assert not Step(finetune=Finetune()).needs_classifier
    assert Step(distill=Distill()).needs_classifier
    assert Step(vocabulary=Vocabulary()).needs_classifier


def test_texts_without_labels_need_a_source() -> None:
    for source in ("jsonl", "csv", "text"):
        with pytest.raises(SpecError, match="needs files"):
            Unlabeled(source)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="data set's name"):
        Unlabeled("hf")
    with pytest.raises(SpecError, match="too small"):
        Unlabeled("text", files=("a",), limit=0)
