"""A table of figures as colour: the darker, the more is lost."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edgekit.report import plots

CELL, LEFT, TOP = 44, 170, 30


def heatmap(
    name: str,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    noise: float = 0.0,
) -> str:
    """One cell a row and column, its figure written in it; ``None`` is left blank. What is at or below ``noise`` has no
    colour, the greatest figure has all of it."""
    wide = min((plots.WIDE - LEFT - 10) / max(len(columns), 1), 110.0)
    most = max((one for line in values for one in line if one is not None), default=0.0)
    parts = []
    for number, column in enumerate(columns):
        middle = LEFT + (number + 0.5) * wide
        parts.append(f'<text class="tick" x="{middle:.1f}" y="14" text-anchor="middle">{escape(column)}</text>')
    for number, row in enumerate(rows):
        top = TOP + number * CELL
        middle = top + CELL / 2
        parts.append(f'<text class="name" x="{LEFT - 12}" y="{middle:.1f}" text-anchor="end">{escape(row)}</text>')
        for place, value in enumerate(values[number]):
            left = LEFT + place * wide
            share = 0.0 if value is None or most <= noise else max(0.0, value - noise) / (most - noise)
            parts.append(
                f'<rect class="heat" x="{left:.1f}" y="{top}" width="{wide - 2:.1f}" height="{CELL - 2}" '
                f'fill-opacity="{share:.3f}"/>'
            )
            text = "" if value is None else f"{value:.1f}"
            style, centre = "value deep" if share > 0.55 else "value", left + wide / 2 - 1
            parts.append(f'<text class="{style}" x="{centre:.1f}" y="{middle:.1f}" text-anchor="middle">{text}</text>')
    description = "; ".join(
        f"{row}: {', '.join('–' if one is None else f'{one:.1f}' for one in line)}"
        for row, line in zip(rows, values, strict=True)
    )
    return plots.svg(name, title, description, plots.WIDE, TOP + len(rows) * CELL, parts)
