"""Plots as inline SVG: text is text, colours are the page's CSS variables, every plot has a title and a description."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDE, HALF, _FONT = 1000, 450, 13
#: Average advance of the page's sans-serif at ``_FONT`` px, to keep labels clear of each other.
_ADVANCE = 7.0


@dataclass(frozen=True)
class Bar:
    """``style`` is the CSS class of its solution; ``low`` and ``high`` bound its interval; ``text`` is shown."""

    label: str
    value: float
    text: str
    style: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    label: str
    values: tuple[float, ...]
    style: str


def bars(name: str, title: str, bars: Sequence[Bar], width: int = WIDE) -> str:
    """Horizontal bars from zero, with their intervals as whiskers. ``name`` is unique on the page."""
    left = 16 + _ADVANCE * max(len(one.label) for one in bars)
    right = 28 + _ADVANCE * max(len(one.text) for one in bars)
    span = width - left - right
    most = max(max(one.value, one.high or 0.0) for one in bars) or 1.0
    step, thick = 40, 20
    parts = []
    for n, one in enumerate(bars):
        top, length = n * step + 8, max(span * one.value / most, 1.0)
        middle = top + thick / 2
        end = left + length
        parts.append(
            f'<text class="name" x="{left - 12:.1f}" y="{middle:.1f}" text-anchor="end">{escape(one.label)}</text>'
        )
        parts.append(f'<path class="bar {one.style}" d="{_rounded(left, top, length, thick)}"/>')
        if one.low is not None and one.high is not None:
            low, high = left + span * one.low / most, left + span * one.high / most
            parts.append(
                f'<path class="whisker" d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 5:.1f}v10'
                f'M{high:.1f} {middle - 5:.1f}v10"/>'
            )
            end = max(end, high)
        parts.append(f'<text class="value" x="{end + 10:.1f}" y="{middle:.1f}">{escape(one.text)}</text>')
    parts.append(f'<path class="axis" d="M{left:.1f} 0V{len(bars) * step - 4}"/>')
    description = "; ".join(f"{one.label}: {one.text}" for one in bars)
    return svg(name, title, description, width, len(bars) * step, parts)


def ecdf(name: str, title: str, unit: str, series: Sequence[Series]) -> str:
    """The share of values at or below x, one step line a series, on a logarithmic axis."""
    height, left, right, top, bottom = 300, 48, 20, 14, 46
    low = min(min(one.values) for one in series)
    high = max(max(one.values) for one in series)
    ticks = _ticks(low, high)
    start, stop = math.log(min(ticks[0], low)), math.log(max(ticks[-1], high))

    def x(value: float) -> float:
        return left + (math.log(value) - start) / (stop - start) * (WIDE - left - right)

    def y(share: float) -> float:
        return top + (1 - share) * (height - top - bottom)

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path class="grid" d="M{left} {y(share):.1f}H{WIDE - right}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y(share):.1f}" text-anchor="end">{share:.0%}</text>')
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{x(tick):.1f} {y(1):.1f}V{y(0):.1f}"/>')
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{y(0) + 18:.1f}" text-anchor="middle">{tick:g}</text>')
    axis = f"{unit}, logarithmic"
    parts.append(f'<text class="tick" x="{WIDE - right}" y="{height - 8}" text-anchor="end">{escape(axis)}</text>')
    for one in series:
        ordered = sorted(one.values)
        line = f"M{x(ordered[0]):.1f} {y(0):.1f}"
        for n, value in enumerate(ordered):
            line += f"H{x(value):.1f}V{y((n + 1) / len(ordered)):.1f}"
        parts.append(f'<path class="line {one.style}" d="{line}"/>')
    description = "; ".join(
        f"{one.label}: from {min(one.values):.1f} to {max(one.values):.1f} {unit}" for one in series
    )
    return svg(name, title, description, WIDE, height, parts)


def curve(name: str, title: str, values: Sequence[float], epochs: int) -> str:
    """Values over equal shares of ``epochs``, from zero, as one line; at least two of them."""
    height, left, right, top, bottom = 260, 56, 20, 14, 46
    most = max(values) or 1.0

    def x(share: float) -> float:
        return left + share * (WIDE - left - right)

    def y(value: float) -> float:
        return top + (1 - value / most) * (height - top - bottom)

    parts = []
    for quarter in range(5):
        value = most * quarter / 4
        parts.append(f'<path class="grid" d="M{left} {y(value):.1f}H{WIDE - right}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y(value):.1f}" text-anchor="end">{value:.3g}</text>')
    for epoch in range(epochs + 1):
        place = x(epoch / epochs)
        parts.append(f'<path class="grid" d="M{place:.1f} {y(most):.1f}V{y(0):.1f}"/>')
        parts.append(f'<text class="tick" x="{place:.1f}" y="{y(0) + 18:.1f}" text-anchor="middle">{epoch}</text>')
    points = (f"{x((n + 0.5) / len(values)):.1f} {y(one):.1f}" for n, one in enumerate(values))
    parts.append(f'<path class="line optimized" d="M{"L".join(points)}"/>')
    parts.append(f'<text class="tick" x="{WIDE - right}" y="{height - 8}" text-anchor="end">epochs</text>')
    return svg(name, title, f"from {values[0]:.3g} to {values[-1]:.3g} in {epochs} epochs", WIDE, height, parts)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, … from the one at or below ``low`` to the one at or above ``high``."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
    under = max(one for one in steps if one <= low * (1 + 1e-9))
    above = min((one for one in steps if one >= high and one > under), default=steps[-1])
    return [one for one in steps if under <= one <= above]


def _rounded(x: float, y: float, width: float, height: float) -> str:
    """A bar with its far corners rounded; it stands on the axis."""
    r = min(3.0, width)
    return f"M{x:.1f} {y:.1f}h{width - r:.1f}q{r} 0 {r} {r}v{height - 2 * r:.1f}q0 {r} -{r} {r}h-{width - r:.1f}z"


def svg(name: str, title: str, description: str, width: float, height: float, parts: list[str]) -> str:
    """The drawing around its parts; ``name`` is unique on the page."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
        + "".join(parts)
        + "</svg>"
    )
