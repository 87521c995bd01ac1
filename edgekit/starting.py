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
from edgekit.stages import Stages, code_digest, files_digest, versions


@dataclass(frozen=True)
class Module:
    """A checkpoint folder and the key of the stage that made it."""

    folder: Path
    key: str


def resolved(recipe: Recipe, base: Path, cache: Path, stages: Stages) -> tuple[Module, str]:
    """The model's folder, and the licence it states. Raises BuildError where it cannot be had, or a bucket or the
    context is longer than its positions."""
    from edgekit.models import folder, source

    if recipe.model.keras is not None:
        return _opened(recipe, base, stages)
    found = source.resolve(recipe.model, base, cache, stages.report)
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


def _opened(recipe: Recipe, base: Path, stages: Stages) -> tuple[Module, str]:
    """The folder of a Keras model. Raises MissingExtra without tensorflow, BuildError where it is none that can be
    taken, or takes one length and the buckets are others."""
    from edgekit.models import folder, keras, source

    asked, data = recipe.model, recipe.data
    model, tokenizer = keras.locate(asked, base)
    if asked.sha256 is not None:
        source.check_pin(model, asked.sha256)
    inputs = {
        "model": files_digest(model) if model.is_dir() else blob_of(model).sha256,
        "tokenizer": blob_of(tokenizer).sha256,
        "names": [asked.input_ids, asked.attention_mask],
        "labels": data.labels,
        "code": code_digest("models"),
        "versions": versions(*keras.PACKAGES),
    }

    def make(part: Path) -> None:
        stages.report("tensorflow looks at the model", None)
        keras.adopt(asked, model, tokenizer, data.labels, part / "checkpoint")

    found = stages.run("keras", inputs, make) / "checkpoint"
    length = keras.read(found).length
    if length is not None and (data.lengths != (length,) or data.buckets):
        raise BuildError(
            "this model takes texts of one length only",
            where="$.data.lengths",
            given=", ".join(map(str, data.lengths)) + (f", buckets: {data.buckets}" if data.buckets else ""),
            allowed=f"[{length}], without buckets",
            remedy="or build the model for any length: keras.Input((None,))",
        )
    return Module(found, codec.digest(inputs)), folder.licence(model if model.is_dir() else model.parent)


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


#: Where sentence-transformers says how tokens are pooled.
POOLING = "1_Pooling/config.json"


def folder_digest(folder: Path) -> str:
    """Of the three files that make a checkpoint, and those of its structure, its grid and its pooling where there
    are any."""
    names = ("config.json", "model.safetensors", "tokenizer.json", "edgekit.json", "quantization.json", POOLING)
    return codec.digest({name: blob_of(folder / name).sha256 for name in names if (folder / name).is_file()})
