"""What people read on stdout: tables and the words for sizes and times."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE = 160


def paper() -> Console:
    """stdout: no markup and no guessing of colours in what is printed; wide where it is no terminal."""
    from rich.console import Console

    class Paper(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # for main to answer, instead of leaving with 1

    width = None if sys.stdout.isatty() else _WIDE
    return Paper(width=width, highlight=False, markup=False, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> Table:
    """A table; ``right`` names the columns of figures."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text("–" if cell is None else str(cell)) for cell in row))
    return drawn


def document(value: Any) -> str:
    """A value as one JSON document."""
    import json

    from edgekit.spec import codec

    return json.dumps(codec.encode(value), indent=2, ensure_ascii=False, default=str)


def megabytes(size: float | None) -> str | None:
    """``size`` in bytes as MB (10⁶ bytes)."""
    return None if size is None else f"{size / 1e6:.1f} MB"


def figure(value: float | None, digits: int = 2) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def moment(seconds: float) -> str:
    """Seconds since the epoch as UTC."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def short(digest: str | None) -> str:
    """The first 12 characters of a digest, as people tell them apart."""
    return (digest or "–")[:12]
