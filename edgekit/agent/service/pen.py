"""Writes one text at a time, for as long as it may and somebody reads it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Callable

from edgekit.agent.service.desk import Draft
from edgekit.agent.service.loaded import Loaded


class Pen:
    """Gives each text ``seconds``. Counts the ``tokens`` written and the ``seconds_spent`` on them; ``rate`` is how
    many a second the last whole text had, its prompt not counted."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.tokens = 0
        self.seconds_spent = 0.0
        self.rate = 0.0

    def write(self, draft: Draft, by: Loaded, go_on: Callable[[], bool]) -> None:
        """To its end, or until nobody waits for it. ``go_on`` is asked after each token. Raises as :class:`Loaded`."""
        began = time.monotonic()
        try:
            piece = by.begin(draft.asked)
            while piece.written is None:
                self.tokens += 1
                draft.add(piece.text)
                if draft.given_up or not go_on():
                    return
                piece = by.go_on(end=time.monotonic() - began > self.seconds)
        finally:
            self.seconds_spent += time.monotonic() - began
        draft.add(piece.text)
        draft.end(replace(piece.written, release=by.release, artifact=by.artifact))
        if piece.written.token_ms:
            self.rate = 1e3 * len(piece.written.token_ms) / sum(piece.written.token_ms)
