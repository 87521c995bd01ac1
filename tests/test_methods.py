"""recipes/methods: one recipe a method, and no method without one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from edgekit import load
from edgekit.spec.distill import Student
from edgekit.spec.prune import Prune
from edgekit.spec.quantize import Calibration, Quantization
from edgekit.spec.recipe import Recipe, Step
from edgekit.spec.scheme import FORMAT_SCHEMES
from edgekit.spec.training import Losses, Training

FOLDER = load.files.packaged("recipes") / "methods"
FILES = sorted(FOLDER.glob("*.yaml"))
RECIPES = {file.stem: load.recipe(file) for file in FILES}
#: What a method is held against, and no method itself.
CONTROLS = {"random", "float16"}


def steps(kind: str) -> list[Any]:
    return [getattr(step, kind) for one in RECIPES.values() for step in one.compress if step.kind == kind]


def choices(spec: type, field: str) -> set[Any]:
    return set(get_args(get_type_hints(spec)[field])) - CONTROLS


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_method_is_named_as_its_file_and_described(file: Path) -> None:
    recipe = RECIPES[file.stem]
    assert recipe.name == file.stem
    assert recipe.description


def test_all_methods_start_from_one_teacher_on_one_task() -> None:
    starts = {
        (one.model, one.data.source, one.data.test, one.compress[0].finetune, one.seed) for one in RECIPES.values()
    }
    assert len(starts) == 1


def test_every_kind_of_step_and_loss_has_its_recipe() -> None:
    assert {step.kind for one in RECIPES.values() for step in one.compress} == {one.name for one in fields(Step)}
    used = {name for one in steps("distill") for name in one.losses.active}
    assert used == {one.name for one in fields(Losses)}
    assert {one.student.start for one in steps("distill")} >= choices(Student, "start") - {"fresh"}
    assert any(one.teachers for one in steps("distill"))
    assert {one.precision for one in steps("distill")} >= choices(Training, "precision")


def test_every_measure_and_spread_of_pruning_has_its_recipe() -> None:
    assert {one.criterion for one in steps("prune")} >= choices(Prune, "criterion")
    assert {one.scope for one in steps("prune")} >= choices(Prune, "scope")
    assert {one.schedule for one in steps("prune")} >= choices(Prune, "schedule")
    for name in ("heads", "ffn", "hidden", "layers", "sparsity", "block", "candidates"):
        assert any(getattr(one, name) for one in steps("prune")), name


def test_every_way_to_quantize_has_its_recipe() -> None:
    def used(of: Any) -> set[Any]:
        return {of(one) for one in RECIPES.values()}

    assert {scheme for one in RECIPES.values() for scheme in one.convert.schemes} >= {
        one for one in FORMAT_SCHEMES["tflite"] if one not in ("w32_a32_float", "w4_a32_weight")
    }
    assert used(lambda one: one.convert.calibration.ranges) == choices(Calibration, "ranges")
    for name in ("weights", "activations", "rounding"):
        assert used(lambda one, name=name: getattr(one.convert.quantization, name)) == choices(Quantization, name), name
    assert any(one.convert.quantization.smooth for one in RECIPES.values())
    assert any(one.convert.quantization.bias_correction for one in RECIPES.values())
    assert sum(one.convert.quantization.mixed is not None for one in RECIPES.values()) >= 2


def test_a_method_has_no_gate_that_could_hide_its_row() -> None:
    assert all(one.gates == Recipe.__dataclass_fields__["gates"].default_factory() for one in RECIPES.values())
