"""Every recipe in recipes/methods, built for the board and measured there: one record each."""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import record

from edgekit import bundle as bundles
from edgekit import load, pipeline
from edgekit.errors import EdgekitError, UsageError
from edgekit.fieldwork import choose
from edgekit.home import Home
from edgekit.outcome import Built
from edgekit.spec.device import Device
from edgekit.spec.recipe import Recipe
from edgekit.spec.training import Training

TARGET = "rpi4"
FOLDER = Path(__file__).parents[2] / "recipes" / "methods"
GROUPS = {
    "distill": "distill",
    "init": "distill",
    "prune": "prune",
    "share": "share",
    "factor": "share",
    "cluster": "share",
    "hash": "share",
    "vocabulary": "share",
    "quant": "quantize",
    "qat": "quantize",
    "mixed": "mixed",
    "train": "train",
    "teacher": "teacher",
}


def run(device: str | None, names: Sequence[str] = (), seeds: Sequence[int] = ()) -> None:
    """Build, measure and record; a method that fails is recorded with its reason. Done ones are cached stages."""
    board = choose(Home.default(), target=TARGET, device=device)
    files = [Path(one) if "/" in one else FOLDER / f"{one}.yaml" for one in names] or sorted(FOLDER.glob("*.yaml"))
    asked = [(file, overrides) for file in files for overrides in seeded(file, seeds)]
    for number, (file, overrides) in enumerate(asked, 1):
        started = time.monotonic()
        recipe = load.recipe(file, overrides)
        group = GROUPS.get(recipe.name.partition("-")[0], "best")
        try:
            built = pipeline.build(file, target=TARGET, device=board.name, overrides=overrides)
            record.save(measured(built, board, group, recipe.description, seed_of(recipe)))
        except UsageError:
            raise  # a missing board says nothing of a method
        except EdgekitError as error:
            record.save(record.Record(recipe.name, group, recipe.description, failure=error.message))
            print(f"{recipe.name}: {error.message}", file=sys.stderr)
        print(f"{number} of {len(asked)}: {recipe.name}, {time.monotonic() - started:.0f} s", flush=True)


def seeded(file: Path, seeds: Sequence[int]) -> list[tuple[str, ...]]:
    """The settings for each seed: of the last step that trains, for one teacher is compared with all its students.
    Raises UsageError where none trains."""
    if not seeds:
        return [()]
    recipe = load.recipe(file)
    number = _last_trained(recipe)
    if number is None:
        raise UsageError("this recipe has no step that trains: all seeds would give the same", given=str(file))
    kind = recipe.compress[number].kind
    return [(f"name={recipe.name}-seed{one}", f"compress.{number}.{kind}.seed={one}") for one in seeds]


def seed_of(recipe: Recipe) -> int:
    """What its last step that trains was seeded with."""
    number = _last_trained(recipe)
    own: int | None = None if number is None else recipe.compress[number].options.seed
    return recipe.seed if own is None else own


def _last_trained(recipe: Recipe) -> int | None:
    options = [step.options for step in recipe.compress]
    trained = [number for number, one in enumerate(options) if isinstance(one, Training) and one.epochs]
    return trained[-1] if trained else None


def measured(built: Built, board: Device, group: str, title: str, seed: int) -> record.Record:
    """What the manifest and the board say of the artifact that ships."""
    shipped = next(one for one in built.candidates if one.shipped)
    artifact = built.manifest.optimized
    content = bundles.blob_file(built.bundle, artifact.blob).read_bytes()
    trained = [one for one in built.steps if one.kind != "finetune"]
    return record.Record(
        name=built.manifest.name,
        group=group,
        title=title,
        accuracy=shipped.accuracy,
        reference=built.manifest.baseline.accuracy,
        held_out=artifact.accuracy_samples,
        size=len(content),
        deflated=len(zlib.compress(content, 9)),
        latency_ms=shipped.latency_ms,
        peak_memory=shipped.peak_memory,
        seconds=sum(one.seconds for one in trained),
        scheme=shipped.scheme,
        seed=seed,
        versions=built.manifest.versions,
        note=" ".join(remark for one in trained for remark in one.remarks),
        **record.place(board),
    )
