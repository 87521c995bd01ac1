"""A text as server-sent events (HTML standard, 9.2): each a name and a line of JSON."""

from __future__ import annotations

import contextlib
import json
from typing import Any, Generator

from edgekit.agent.service.desk import Draft
from edgekit.errors import EdgekitError
from edgekit.spec import codec
from edgekit.spec.prompt import DONE, ERROR, PIECE


def events(draft: Draft, first: str, pieces: Generator[str, None, None]) -> Generator[bytes, None, None]:
    """A text whose ``first`` piece has come: the others as they do, then the whole, or why it broke off."""
    with contextlib.closing(pieces):
        try:
            if first:
                yield event(PIECE, {"text": first})
            for piece in pieces:
                if piece:
                    yield event(PIECE, {"text": piece})
        except EdgekitError as error:
            yield event(ERROR, error.to_json())
        else:
            yield event(DONE, codec.encode(draft.written))


def event(name: str, data: Any) -> bytes:
    # JSON escapes line ends: the data is one line
    return "event: {}\ndata: {}\n\n".format(name, json.dumps(data, ensure_ascii=False)).encode("utf-8", "replace")
