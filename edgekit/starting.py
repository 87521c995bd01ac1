"""What a build starts from: the checkpoint, its tokenizer made ready, and the length buckets."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BuildError
from edgekit.evaluating import blob_of
from edgekit.spec import codec
from edgekit.spec.data import DataSpec
from edgekit.spec.progress import Report
from edgekit.spec.recipe import Recipe
from edgekit.stages import Stages, code_digest


@dataclass(frozen=True)
class Module:
    """A checkpoint folder and the key of the stage that made it."""

    folder: Path
    key: str


def resolved(recipe: Recipe, base: Path, cache: Path, report: Report) -> tuple[Module, str]:
    """The model's folder, and the licence it states. Raises BuildError where it cannot be had, or a bucket or the
    context is longer than its positions."""
    from edgekit.models import folder, source

    found = source.resolve(recipe.model, base, cache, report)
    longest, positions = recipe.data.lengths[-1], folder.positions(found)
    if positions is not None and longest > positions:
        raise BuildError(
            "a length bucket is longer than the model's positions",
            where="$.data.lengths",
            given=longest,
            allowed=f"up to {positions} tokens",
            remedy="leave it out; texts are cut at the last bucket",
        )
    folder.check_context(found, recipe.convert.context)
    return Module(found, folder_digest(found)), folder.licence(found)


def tokenizing(model: Module, data: DataSpec, stages: Stages) -> Module:
    """The model with a tokenizer that does what the recipe asks of texts: the device gets nothing else."""
    from edgekit.models import tokenizer

    if not data.lowercase and data.truncation_side == "right":
        return model
    inputs = {
        "from": model.key,
        "lowercase": data.lowercase,
        "truncation_side": data.truncation_side,
        "code": code_digest("models"),
    }

    def make(part: Path) -> None:
        shutil.copytree(model.folder, part / "checkpoint", dirs_exist_ok=True)
        file = part / "checkpoint" / "tokenizer.json"
        file.write_text(tokenizer.prepared(file.read_text("utf-8"), data.lowercase, data.truncation_side), "utf-8")

    folder = stages.run("tokenizer", inputs, make)
    return Module(folder / "checkpoint", codec.digest(inputs))


def lengths(model: Module, data: DataSpec, samples: Any, report: Report) -> tuple[int, ...]:
    """The recipe's length buckets, or those that its training texts choose."""
    if not data.buckets:
        return data.lengths
    from edgekit.data import lengths as counting

    counts = counting.counts([one.text for one in samples.train], model.folder / "tokenizer.json")
    chosen = counting.choose(counts, data.buckets, data.lengths[-1])
    report(f"length buckets: {', '.join(map(str, chosen))} tokens", None)
    return chosen


def folder_digest(folder: Path) -> str:
    """Of the three files that make a checkpoint, and those of its structure and its grid where there are any."""
    names = ("config.json", "model.safetensors", "tokenizer.json", "edgekit.json", "quantization.json")
    return codec.digest({name: blob_of(folder / name).sha256 for name in names if (folder / name).is_file()})
