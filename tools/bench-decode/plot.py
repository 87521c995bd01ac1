"""Lines over token positions, both axes logarithmic, as a standalone SVG."""

from __future__ import annotations

import math
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 420, 300, 68, 44, 34
COLOURS = ("#0b6e4f", "#c0392b")
#: Of one place: each line's points, (position, milliseconds).
Lines = dict[str, list[tuple[int, float]]]


def draw(places: dict[str, Lines]) -> str:
    """One panel a place."""
    panels = [_panel(title, lines, number * WIDTH) for number, (title, lines) in enumerate(places.items())]
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(panels)}</svg>\n'
    )


def _panel(title: str, lines: Lines, left: int) -> str:
    points = [one for line in lines.values() for one in line]
    values = [value for _, value in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = (math.log2(pick(place for place, _ in points)) for pick in (min, max))

    def x(place: float) -> float:
        return LEFT + (math.log2(place) - first) / ((last - first) or 1.0) * (WIDTH - LEFT - 24)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(value) - low) / ((high - low) or 1) * (HEIGHT - BOTTOM - TOP)

    parts = [f'<text x="{WIDTH / 2}" y="18" text-anchor="middle" font-weight="bold">{escape(title)}</text>']
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 24}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g} ms</text>')
    for place in sorted({place for place, _ in points}):
        parts.append(f'<text x="{x(place):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{place}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">position of the token</text>')
    for (name, line), colour in zip(lines.items(), COLOURS, strict=True):
        if not line:
            continue
        path = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(place):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>' for place, value in line]
        place, value = line[-1]
        where = f'x="{x(place) + 4:.1f}" y="{y(value) - 10:.1f}" text-anchor="end"'
        parts.append(f'<text {where} fill="{colour}">{escape(name)}</text>')
    return f'<g transform="translate({left} 0)">{"".join(parts)}</g>'
