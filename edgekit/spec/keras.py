"""What a recipe over a Keras model, or a SavedModel, cannot ask for: told before anything is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.errors import SpecError
from edgekit.spec.quantize import Quantization
from edgekit.spec.task import CLASSIFY

if TYPE_CHECKING:
    from edgekit.spec.recipe import Recipe


def check_keras(recipe: Recipe) -> None:
    """Raise SpecError where the recipe's model is a Keras one and a part of the recipe needs a torch checkpoint."""
    if recipe.model.keras is None:
        return
    if recipe.task != CLASSIFY:
        raise SpecError(
            "of Keras models only classifiers are taken", where="$.task", given=recipe.task, allowed=CLASSIFY
        )
    if not recipe.data.labels:
        raise SpecError(
            "a Keras model does not say what its outputs mean",
            where="$.data.labels",
            given="none",
            allowed="the classes, in the order of the model's outputs",
            remedy="name them: data.labels: [first, second, …]",
        )
    if recipe.compress:
        raise SpecError(
            "compression steps change a torch checkpoint, and this model is a Keras one",
            where="$.compress",
            given=", ".join(step.kind for step in recipe.compress),
            remedy="leave compress out: the model is converted and quantized as it is",
        )
    if recipe.search is not None:
        raise SpecError(
            "a search draws compression steps, and they need a torch checkpoint",
            where="$.search",
            given="model: keras",
            remedy="leave search out",
        )
    if recipe.convert.formats != ("tflite",):
        raise SpecError(
            "tensorflow's converter writes TFLite files only",
            where="$.convert.formats",
            given=", ".join(recipe.convert.formats),
            allowed="tflite",
        )
    asked, plain = recipe.convert.quantization, Quantization()
    for name, used in (
        ("smooth", asked.smooth is not None),
        ("rounding", asked.rounding != plain.rounding),
        ("bias_correction", asked.bias_correction),
        ("mixed.sensitivity", asked.mixed.sensitivity is not None),
    ):
        if used:
            raise SpecError(
                "this changes or measures the weights of a torch checkpoint, and this model is a Keras one",
                where="$.convert.quantization." + name,
                remedy="leave it out; the other options hold for Keras models too",
            )
