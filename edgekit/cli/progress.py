"""How far long work is, on stderr: a live line on a terminal, few plain lines elsewhere, nothing with ``--quiet``."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, TextIO


class Progress(Protocol):
    """A ``Report`` that can step aside while somebody is asked something."""

    def __call__(self, message: str, fraction: float | None = None) -> None: ...

    def pause(self) -> None: ...

    def __enter__(self) -> Progress: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress(*, quiet: bool, verbose: bool, stream: TextIO | None = None) -> Progress:
    """The right one for this stream (stderr) and these flags."""
    stream = stream or sys.stderr
    if quiet:
        return Silent()
    if stream.isatty() and not verbose:
        from edgekit.cli.live import Live

        return Live(stream)
    return Lines(stream, every=0.0 if verbose else 5.0)


class Silent:
    """Says nothing."""

    def __call__(self, message: str, fraction: float | None = None) -> None:
        pass

    def pause(self) -> None:
        pass

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()


class Lines(Silent):
    """One line a message. Work that counts is told at its start, at its end, and every few seconds in between."""

    def __init__(self, stream: TextIO, every: float) -> None:
        self._stream = stream
        self._every = every
        self._last = ""
        self._told = float("-inf")

    def __call__(self, message: str, fraction: float | None = None) -> None:
        now = time.monotonic()
        edge = fraction is None or fraction <= 0 or fraction >= 1
        line = message if fraction is None else f"{message} {fraction:.0%}"
        if line == self._last or not (edge or now - self._told >= self._every):
            return
        self._last, self._told = line, now
        print(line, file=self._stream, flush=True)
