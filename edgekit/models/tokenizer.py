"""tokenizer.json carries how texts are prepared, from the first step to the device: lower case, and which end is cut.

The format is the ``tokenizers`` library's own; nothing else has to be handed on beside the file.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from edgekit.errors import BuildError, MissingExtra

try:
    from tokenizers import Tokenizer
except ImportError as error:
    raise MissingExtra(error.name or "tokenizers", "host") from error

Side = Literal["right", "left"]
_LOWERCASE = {"type": "Lowercase"}


def prepared(text: str, lowercase: bool, truncation_side: Side) -> str:
    """The text of a tokenizer.json that lower-cases, where asked to, and cuts long texts at ``truncation_side``."""
    values = json.loads(text)
    if lowercase:
        own = values.get("normalizer")
        steps: list[Any] = [_LOWERCASE, {"type": "NFC"}, *([own] if own else [])]
        values["normalizer"] = {"type": "Sequence", "normalizers": steps}
    values["truncation"] = _cut(truncation_side)
    return _written(values)


def unpadded(text: str) -> str:
    """Without padding and a length to cut at: those belong to the length buckets. The side that is cut stays."""
    values = json.loads(text)
    values["padding"] = None
    values["truncation"] = _cut("left" if _side(values) == "Left" else "right")
    return _written(values)


def check(text: str, rows: int, where: str) -> None:
    """Raise BuildError where a tokenizer.json, with this ``text``, cannot be read, or has a token beyond the ``rows``
    of the model's word embedding: folders are found whose padding token was added to the tokenizer alone."""
    token, number = highest(text, where)
    if number >= rows:
        raise BuildError(
            "the tokenizer has a token that the model has no embedding of",
            where=where,
            given=f"{token!r}, number {number}",
            allowed=f"numbers below {rows}",
            remedy="resize the model and save it again: model.resize_token_embeddings(len(tokenizer))",
        )


def highest(text: str, where: str) -> tuple[str, int]:
    """The token of the greatest number, -1 where there is none. Raises BuildError where ``text`` is no tokenizer."""
    try:
        known = Tokenizer.from_str(text).get_vocab()
    except Exception as error:  # the library's own class is no narrower
        raise BuildError(f"the tokenizer cannot be read: {error}", where=where) from error
    return max(known.items(), key=lambda one: one[1], default=("", -1))


def truncate(tokenizer: Any, length: int, overlap: int = 0) -> None:
    """Let a ``tokenizers.Tokenizer`` cut at ``length`` tokens, on the side that its file names."""
    own = tokenizer.truncation
    tokenizer.enable_truncation(max_length=length, stride=overlap, direction=own["direction"] if own else "right")


def _side(values: dict[str, Any]) -> str:
    return str((values.get("truncation") or {}).get("direction", "Right"))


def _cut(side: Side) -> dict[str, Any] | None:
    """As the library writes it; the length is always set anew before it is used."""
    if side == "right":
        return None
    return {"direction": "Left", "max_length": 512, "strategy": "LongestFirst", "stride": 0}


def _written(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
