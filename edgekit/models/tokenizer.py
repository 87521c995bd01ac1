"""tokenizer.json carries how texts are prepared, from the first step to the device: lower case, and which end is cut.

The format is the ``tokenizers`` library's own; nothing else has to be handed on beside the file.
"""

from __future__ import annotations

import json
from typing import Any, Literal

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


def truncate(tokenizer: Any, length: int) -> None:
    """Let a ``tokenizers.Tokenizer`` cut at ``length`` tokens, on the side that its file names."""
    own = tokenizer.truncation
    tokenizer.enable_truncation(max_length=length, direction=own["direction"] if own else "right")


def _side(values: dict[str, Any]) -> str:
    return str((values.get("truncation") or {}).get("direction", "Right"))


def _cut(side: Side) -> dict[str, Any] | None:
    """As the library writes it; the length is always set anew before it is used."""
    if side == "right":
        return None
    return {"direction": "Left", "max_length": 512, "strategy": "LongestFirst", "stride": 0}


def _written(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
