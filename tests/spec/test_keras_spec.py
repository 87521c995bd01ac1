"""What a recipe over a Keras model cannot ask for."""

from __future__ import annotations

from typing import Any

import pytest

from edgekit.errors import SpecError
from edgekit.spec.data import DataSpec
from edgekit.spec.quantize import Convert, Mixed, Quantization
from edgekit.spec.recipe import ModelSpec, Recipe, Step
from edgekit.spec.steps import Finetune

DATA = DataSpec("jsonl", files=("a.jsonl",), labels=("no", "yes"))
STATIC = ("w8_a8_static",)


def recipe(**parts: Any) -> Recipe:
    return Recipe("mine", **{"model": ModelSpec(keras="model.keras"), "data": DATA, **parts})


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        ({"compress": (Step(finetune=Finetune()),)}, "$.compress"),
        ({"data": DataSpec("jsonl", files=("a.jsonl",))}, "$.data.labels"),
        ({"convert": Convert(formats=("tflite", "onnx"))}, "$.convert.formats"),
        ({"convert": Convert(quantization=Quantization(smooth=0.5))}, "$.convert.quantization.smooth"),
        ({"convert": Convert(quantization=Quantization(rounding="learned"))}, "$.convert.quantization.rounding"),
        (
            {"convert": Convert(quantization=Quantization(bias_correction=True))},
            "$.convert.quantization.bias_correction",
        ),
        (
            {"convert": Convert(schemes=STATIC, quantization=Quantization(mixed=Mixed(sensitivity=20.0)))},
            "$.convert.quantization.mixed.sensitivity",
        ),
        ({"task": "language", "data": DataSpec("text", files=("a.txt",))}, "$.task"),
    ],
)
def test_what_needs_a_torch_checkpoint_is_refused_beforehand(parts: dict[str, Any], where: str) -> None:
    assert recipe(convert=Convert(quantization=Quantization(mixed=Mixed(float32=("dense",)))))
    with pytest.raises(SpecError) as caught:
        recipe(**parts)
    assert caught.value.where == where


def test_a_model_has_one_source_and_only_a_keras_models_inputs_have_names() -> None:
    with pytest.raises(SpecError, match="exactly one source"):
        ModelSpec(path="x", keras="y.keras")
    with pytest.raises(SpecError, match="names of their own"):
        ModelSpec(path="x", input_ids="tokens")
