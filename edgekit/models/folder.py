"""What a model folder says of itself, read from its files without torch."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from edgekit.errors import BuildError
from edgekit.spec.task import CLASSIFY, TOKENS, Task

UNKNOWN = "unknown: see the model's source"
#: Names of a classifier's weights begin so, in every family of transformers.
CLASSIFIER = ("classifier.", "score.")
#: How transformers' classes end that have one, by what it classifies.
CLASSES: dict[str, str] = {CLASSIFY: "ForSequenceClassification", TOKENS: "ForTokenClassification"}
#: Families whose first token has the position behind the padding token's number.
COUNTED_FROM_PADDING = ("roberta",)
#: Families whose tokens see only those before them, so that what was computed of these stays right.
LOOK_BACK = ("gpt2", "transformer-xl")


def labels(folder: Path, task: Task = CLASSIFY) -> tuple[str, ...]:
    """The classes it was trained to tell apart, in the order of its logits; empty where it has no classifier for such a
    ``task``.

    Raises BuildError where its files cannot be read.
    """
    if (folder / "keras.json").is_file():
        return tuple(_json(folder / "keras.json")["labels"])
    structure = folder / "edgekit.json"
    if structure.is_file():
        described = _json(structure)
        return tuple(described.get("labels", ())) if described.get("task", CLASSIFY) == task else ()
    if not any(name.startswith(CLASSIFIER) for name in _weights(folder / "model.safetensors")):
        return ()
    others = tuple(ending for one, ending in CLASSES.items() if one != task)
    if any(str(name).endswith(others) for name in _json(folder / "config.json").get("architectures") or ()):
        return ()
    # transformers leaves its own two names out of the file
    names = _json(folder / "config.json").get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        return tuple(str(names[number]) for number in sorted(names, key=int))
    except (TypeError, ValueError) as error:
        raise BuildError("id2label maps numbers to names", where=str(folder / "config.json"), given=names) from error


def task(folder: Path) -> Task:
    """What it is for, as its structure file says; a plain folder does not, and is taken for a classifier. Raises
    BuildError where its files cannot be read."""
    structure = folder / "edgekit.json"
    found: Task = _json(structure).get("task", CLASSIFY) if structure.is_file() else CLASSIFY
    return found


def positions(folder: Path) -> int | None:
    """How many tokens it has positions for; ``None`` where config.json does not say."""
    config = _json(folder / "config.json")
    found = config.get("max_position_embeddings", config.get("n_positions"))
    if not isinstance(found, int):
        return None
    if config.get("model_type") in COUNTED_FROM_PADDING:
        return found - int(config.get("pad_token_id", 1)) - 1
    return found


def check_context(folder: Path, context: int) -> None:
    """Raise BuildError where ``folder``'s model has no use, or no positions, for a cache of ``context`` tokens."""
    family = _json(folder / "config.json").get("model_type")
    if context and family not in LOOK_BACK:
        raise BuildError(
            "a model whose tokens look both ways keeps nothing: each new token changes what the others are",
            where="$.convert.generation",
            given=family,
            allowed=list(LOOK_BACK),
            remedy="leave generation out; long texts can be read in windows (data.windows)",
        )
    there = positions(folder)
    if there is not None and context > there:
        raise BuildError(
            "the context is longer than the model's positions",
            where="$.convert.generation.context",
            given=context,
            allowed=f"up to {there} tokens",
            remedy="lower it; a longer text goes on with a window: edgekit generate --window",
        )


def licence(folder: Path) -> str:
    """As README.md's front matter states it (Hugging Face's model card), else a wheel's METADATA, else ``UNKNOWN``."""
    card = re.match(r"---\r?\n(.*?)\r?\n---", _text(folder / "README.md"), re.DOTALL)
    metadata = _text(folder / "METADATA").partition("\n\n")[0]
    stated = (
        re.search(r"^license:[ \t]*(?:\r?\n *- *)?([^\s#].*?)\s*$", card[1], re.MULTILINE) if card else None,
        re.search(r"^License-Expression: *(\S.*?)\s*$", metadata, re.MULTILINE),
        re.search(r"^License: *(\S.*?)\s*$", metadata, re.MULTILINE),
        re.search(r"^Classifier: *License ::.*:: *(\S.*?)\s*$", metadata, re.MULTILINE),
    )
    return next((one[1].strip("'\"") for one in stated if one), UNKNOWN)


def _weights(file: Path) -> list[str]:
    """The names in a safetensors file: its first 8 bytes are the length of a JSON header (the format's own paper)."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > file.stat().st_size:
                raise ValueError("its header is longer than the file")
            return list(json.loads(stream.read(length)))
    except (OSError, ValueError, struct.error) as error:
        raise BuildError(f"no safetensors file: {error}", where=str(file)) from error


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BuildError(f"cannot be read: {error}", where=str(file)) from error
    if not isinstance(value, dict):
        raise BuildError("not a JSON object", where=str(file))
    return value


def _text(file: Path) -> str:
    return file.read_text("utf-8", errors="replace") if file.is_file() else ""
