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
from edgekit.errors import EdgekitError
from edgekit.outcome import Built

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
}


def run(device: str | None, names: Sequence[str] = ()) -> None:
    """Build, measure and record; a method that fails is recorded with its reason. Done ones are cached stages."""
    files = [Path(one) if "/" in one else FOLDER / f"{one}.yaml" for one in names] or sorted(FOLDER.glob("*.yaml"))
    for number, file in enumerate(files, 1):
        started = time.monotonic()
        recipe = load.recipe(file)
        group = GROUPS.get(recipe.name.partition("-")[0], "best")
        try:
            built = pipeline.build(file, target=TARGET, device=device)
            record.save(_record(built, group, recipe.description, recipe.seed))
        except EdgekitError as error:
            record.save(record.Record(recipe.name, group, recipe.description, failure=error.message))
            print(f"{recipe.name}: {error.message}", file=sys.stderr)
        print(f"{number} of {len(files)}: {recipe.name}, {time.monotonic() - started:.0f} s", flush=True)


def _record(built: Built, group: str, title: str, seed: int) -> record.Record:
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
        device=f"{TARGET}, emulated",
        clock="counted",
        scheme=shipped.scheme,
        seed=seed,
        versions=built.manifest.versions,
        note=" ".join(remark for one in trained for remark in one.remarks),
    )
