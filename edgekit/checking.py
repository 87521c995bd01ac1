"""What recipe, model and data say of each other, checked before anything is trained."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from edgekit.errors import BuildError, MissingExtra
from edgekit.spec.recipe import Recipe
from edgekit.spec.scheme import PLANNED, STATIC
from edgekit.starting import Module


def labels(reference: Module, samples: Any) -> None:
    """Its logits are read in the samples' order: raise BuildError where the reference has other labels, or none. A
    language model has none, and neither have its samples."""
    from edgekit.models import folder

    known = folder.labels(reference.folder, samples.task)
    if known == samples.labels:
        return
    raise BuildError(
        "the checkpoint was trained for other labels, or in another order" if known else "the model has no classifier",
        where="$.compress",
        given=f"the model knows {', '.join(known) or 'no labels'}",
        allowed=f"the data's labels: {', '.join(samples.labels)}",
        remedy="start with a step finetune"
        + (f", or give the data the checkpoint's order: data.labels: [{', '.join(known)}]" if known else ""),
    )


def teachers(recipe: Recipe, base: Path, samples: Any) -> None:
    """Raise BuildError where a folder that teaches later cannot be read, or knows other labels than the data's."""
    from edgekit.models import folder

    for number, step in enumerate(recipe.compress):
        for one in step.distill.teachers if step.distill else ():
            known = samples.labels
            if not isinstance(one, int):
                known = folder.labels(base / Path(one).expanduser(), samples.task)
            if known != samples.labels:
                raise BuildError(
                    "a teacher knows other labels than the data, or in another order",
                    where=f"$.compress[{number}].distill.teachers",
                    given=f"{one} knows {', '.join(known) or 'no labels'}",
                    allowed=f"the data's labels: {', '.join(samples.labels)}",
                )


#: What writes a format, where that is an extra: its name and its packages.
_EXTRAS = {"onnx": ("onnx", ("onnx", "onnxruntime", "onnxscript")), "pte": ("executorch", ("executorch",))}


def extras(recipe: Recipe) -> None:
    """Raise MissingExtra where a format's converter is not installed."""
    for form in recipe.convert.formats:
        extra, packages = _EXTRAS.get(form, ("", ()))
        for package in packages:
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(package, extra)


def calibration(recipe: Recipe, samples: Any) -> None:
    """Raise BuildError where there are fewer training texts than the recipe calibrates on."""
    asked, there = recipe.convert, len(samples.train)
    trained = any(step.qat is not None and step.qat.static for step in recipe.compress)
    read = [one for one in asked.schemes if asked.quantization.reads_texts(one) and not (trained and one == STATIC)]
    if set(asked.formats) & set(PLANNED) and read and asked.calibration.samples > there:
        raise BuildError(
            f"too few training texts to calibrate {read[0]} on",
            where="$.convert.calibration.samples",
            given=f"{asked.calibration.samples} asked, {there} there",
            allowed=f"2 to {there}" if there > 1 else None,
            remedy="lower it, or bring more training texts",
        )
