from __future__ import annotations

import pytest

from edgekit.errors import SpecError
from edgekit.spec.data import DataSpec
from edgekit.spec.prune import Prune
from edgekit.spec.qat import Qat
from edgekit.spec.quantize import Convert, Quantization
from edgekit.spec.recipe import ModelSpec, Recipe, Step
from edgekit.spec.steps import Vocabulary


def recipe(*steps: Step, **convert: object) -> Recipe:
    asked = Convert(**convert)  # type: ignore[arg-type]
    return Recipe("x", ModelSpec(path="m"), DataSpec("debian-sections"), tuple(steps), asked)


def test_thresholds_need_a_range() -> None:
    with pytest.raises(SpecError, match="pact learns"):
        Qat(scheme="w8_a32_dynamic", clipping="pact")


def test_integers_need_float32() -> None:
    with pytest.raises(SpecError, match="exactly"):
        Qat(precision="bfloat16")


def test_nothing_moves_weights_after_it() -> None:
    recipe(Step(qat=Qat()), Step(vocabulary=Vocabulary()))
    with pytest.raises(SpecError, match="off the grid") as caught:
        recipe(Step(qat=Qat()), Step(prune=Prune(ffn=8)))
    assert caught.value.where == "$.compress[0].qat"


def test_its_scheme_is_converted() -> None:
    with pytest.raises(SpecError, match="no file will have"):
        recipe(Step(qat=Qat()), schemes=("w8_a32_dynamic",))


def test_conversion_keeps_its_grid() -> None:
    with pytest.raises(SpecError, match="leave the grid") as caught:
        recipe(Step(qat=Qat()), quantization=Quantization(smooth=0.5))
    assert caught.value.where == "$.convert.quantization.smooth"
