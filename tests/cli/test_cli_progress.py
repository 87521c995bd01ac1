"""Progress steps aside, stays off stdout and out of pipes."""

from __future__ import annotations

import io
import re

from edgekit.cli.live import Live
from edgekit.cli.progress import Lines, Silent, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def plain(stream: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_the_right_one_for_the_stream() -> None:
    assert type(progress(quiet=True, verbose=True, stream=Terminal())) is Silent
    assert type(progress(quiet=False, verbose=False, stream=Terminal())) is Live
    assert type(progress(quiet=False, verbose=True, stream=Terminal())) is Lines
    assert type(progress(quiet=False, verbose=False, stream=io.StringIO())) is Lines


def test_live_shows_the_share_only_while_it_is_known() -> None:
    stream = Terminal()
    with Live(stream) as live:
        live("train [step]", 0.5)
        live.pause()
        assert "train [step]" in plain(stream)
        assert "50%" in plain(stream)
        stream.truncate(0)
        live("check health")
        live.pause()
        assert "check health" in plain(stream)
        assert "%" not in plain(stream)
        live("again", 0.25)
        live("and unknown again")
        live.pause()
    shown = plain(stream)
    assert not re.search(r"%.*and unknown again", shown)


def test_lines_say_each_thing_once() -> None:
    stream = io.StringIO()
    lines = Lines(stream, every=3600)
    for message, fraction in [("a", None), ("a", None), ("b", 0.0), ("b", 0.3), ("b", 0.6), ("b", 1.0), ("a", None)]:
        lines(message, fraction)
    assert stream.getvalue().splitlines() == ["a", "b 0%", "b 100%", "a"]
