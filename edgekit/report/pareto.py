"""Accuracy against latency, a disc a candidate whose area is its size; the Pareto front joins those none beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from edgekit.report import plots

HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 64, 40, 20, 52
#: Radii in pixels of the smallest and the largest file.
LEAST, MOST = 4.0, 18.0


@dataclass(frozen=True)
class Point:
    """One candidate. ``style`` is the CSS class of its disc: ``front``, ``knee``, ``beaten``; ``label`` is shown beside
    those of the front, and told of all when the mouse rests there."""

    label: str
    latency_ms: float
    accuracy: float
    size: int
    style: str


def pareto(name: str, title: str, points: Sequence[Point], unit: str, least_accuracy: float | None = None) -> str:
    """``unit`` is the axis of latency; below ``least_accuracy`` a gate refuses."""
    low, high = _span([one.latency_ms for one in points])
    levels = [one.accuracy for one in points] + ([least_accuracy] if least_accuracy is not None else [])
    bottom, top = _span(levels)
    largest = max(one.size for one in points) or 1

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (plots.WIDE - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (top - value) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for tick in _ticks(bottom, top):
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{plots.WIDE - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y(tick):.1f}" text-anchor="end">{tick:g} %</text>')
    for tick in _ticks(low, high):
        parts.append(f'<path class="grid" d="M{x(tick):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
        )
    parts.append(
        f'<text class="tick" x="{plots.WIDE - RIGHT}" y="{HEIGHT - 10}" text-anchor="end">{escape(unit)}</text>'
    )
    if least_accuracy is not None:
        parts.append(f'<path class="gate" d="M{LEFT} {y(least_accuracy):.1f}H{plots.WIDE - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT + 6}" y="{y(least_accuracy) + 12:.1f}">gate</text>')
    front = sorted((one for one in points if one.style in ("front", "knee")), key=lambda one: one.latency_ms)
    if len(front) > 1:
        line = "".join(
            f"{'M' if n == 0 else 'L'}{x(one.latency_ms):.1f} {y(one.accuracy):.1f}" for n, one in enumerate(front)
        )
        parts.append(f'<path class="line optimized" d="{line}"/>')
    for one in sorted(points, key=lambda one: -one.size):
        radius = max(LEAST, MOST * math.sqrt(one.size / largest))
        told = f"{one.label}: {one.accuracy:.2f} %, {one.latency_ms:.3g} ms, {one.size / 1e6:.2f} MB"
        parts.append(
            f'<circle class="disc {one.style}" cx="{x(one.latency_ms):.1f}" cy="{y(one.accuracy):.1f}" '
            f'r="{radius:.1f}"><title>{escape(told)}</title></circle>'
        )
        if one.style != "beaten":
            parts.append(
                f'<text class="name" x="{x(one.latency_ms) + radius + 4:.1f}" y="{y(one.accuracy) + radius:.1f}">'
                f"{escape(one.label)}</text>"
            )
    description = "; ".join(f"{one.label}: {one.accuracy:.2f} % at {one.latency_ms:.3g} ms" for one in front)
    return plots.svg(name, title, description, plots.WIDE, HEIGHT, parts)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """With a tenth of room at each end, and never empty."""
    low, high = min(values), max(values)
    room = (high - low) / 10 or max(abs(high) / 10, 0.5)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, about five of them."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= raw)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step) + 1)]
