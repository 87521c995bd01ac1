"""Which candidate ships: the gates, and among those that meet them the best measured one. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from edgekit.errors import GateMissed
from edgekit.outcome import HOST, Candidate
from edgekit.spec import codec
from edgekit.spec.recipe import Gates

#: What only some tasks' candidates have: the field, by its column.
_OWN = {"perplexity": "perplexity", "F1 drop": "f1_drop", "cosine": "mean_cosine"}


def judge(candidates: Sequence[Candidate], gates: Gates) -> tuple[Candidate, ...]:
    """The candidates with their verdicts, the one that ships marked.

    Quicker on the target is better; within 2 % of the quickest, which no benchmark resolves, smaller is better. An int8
    candidate that is slower than float there therefore loses by itself. Where no target measured them, the smallest
    ships.

    Raises:
        GateMissed: no candidate meets every gate; the message is a table of what each one reached, the details hold
            the same as data.
    """
    judged = [replace(one, verdicts=_verdicts(one, gates)) for one in candidates]
    passing = [one for one in judged if not one.failure and not one.verdicts]
    if not passing:
        nearest = min((one for one in judged if not one.failure), key=lambda one: _beyond(one, gates), default=None)
        told = f"; the nearest is {nearest.name}: {'; '.join(nearest.verdicts)}" if nearest else ""
        raise GateMissed(
            f"no candidate meets the gates{told}\n{_table(judged)}",
            allowed=_describe(gates),
            remedy="loosen the gate the nearest candidate misses, train longer (epochs) or cut less (layers, ffn)",
            details={"nearest": nearest.name if nearest else None, "candidates": codec.encode(judged)},
        )
    best = _best(passing)
    return tuple(replace(one, shipped=one is best) for one in judged)


def _best(passing: Sequence[Candidate]) -> Candidate:
    # the host's wall clock says nothing of a board, and not the same thing twice
    timed = [one for one in passing if one.latency_ms is not None and one.measured_on != HOST]
    if not timed:
        return min(passing, key=lambda one: (one.size, one.name))
    quickest = min(one.latency_ms or 0.0 for one in timed)
    near = [one for one in timed if (one.latency_ms or 0.0) <= quickest * 1.02]
    return min(near, key=lambda one: (one.size, one.latency_ms or 0.0, one.name))


def _bounds(one: Candidate, gates: Gates) -> tuple[tuple[str, float | None, float | None, str], ...]:
    """What is bounded, what the candidate reached (``None``: not measured), the bound (``None``: none) and its unit."""
    return (
        ("accuracy drop", one.drop, gates.accuracy_drop, "points"),
        ("perplexity rise", one.perplexity_rise, gates.perplexity_rise, "%"),
        ("F1 drop", one.f1_drop, gates.f1_drop, "points"),
        ("mean cosine's distance from 1", _apart(one.mean_cosine), _apart(gates.mean_cosine), "in all"),
        ("least cosine's distance from 1", _apart(one.least_cosine), _apart(gates.least_cosine), "in all"),
        ("size", one.size / 1e6, gates.size_mb, "MB"),
        ("latency", one.latency_ms, gates.latency_ms, "ms"),
        ("peak memory", None if one.peak_memory is None else one.peak_memory / 1e6, gates.peak_memory_mb, "MB"),
        ("weights in a wider precision than the scheme's", _rest(one.coverage), _rest(gates.coverage), "%"),
    )


def _apart(cosine: float | None) -> float | None:
    return None if cosine is None else round(1.0 - cosine, 6)


def _rest(share: float | None) -> float | None:
    return None if share is None else 100.0 - share


def _beyond(one: Candidate, gates: Gates) -> tuple[float, str]:
    """How far it is beyond its gates in all: points of accuracy, of all else the share of the bound."""
    total = 0.0
    for _, reached, bound, unit in _bounds(one, gates):
        if bound is not None and reached is None:
            total = math.inf
        elif bound is not None and reached is not None and reached > bound:
            total += (reached - bound) / (1.0 if unit == "points" or not bound else bound)
    return total, one.name


def _verdicts(one: Candidate, gates: Gates) -> tuple[str, ...]:
    if one.failure:
        return ()
    missed = []
    for name, reached, bound, unit in _bounds(one, gates):
        if bound is None:
            continue
        if reached is None:
            missed.append(f"{name} was not measured, allowed {bound:g} {unit}")
        elif reached > bound:
            missed.append(f"{name} {reached:.2f} {unit}, allowed {bound:g} {unit}")
    return tuple(missed)


def _describe(gates: Gates) -> str:
    parts = (
        (gates.accuracy_drop, "accuracy drop ≤ {:g} points"),
        (gates.perplexity_rise, "perplexity rise ≤ {:g} %"),
        (gates.f1_drop, "F1 drop ≤ {:g} points"),
        (gates.mean_cosine, "mean cosine ≥ {:g}"),
        (gates.least_cosine, "least cosine ≥ {:g}"),
        (gates.size_mb, "size ≤ {:g} MB"),
        (gates.latency_ms, "latency ≤ {:g} ms"),
        (gates.peak_memory_mb, "peak memory ≤ {:g} MB"),
        (gates.coverage, "coverage ≥ {:g} %"),
    )
    return ", ".join(text.format(value) for value, text in parts if value is not None) or "none"


def _table(judged: Sequence[Candidate]) -> str:
    more = [name for name, field in _OWN.items() if any(getattr(one, field) is not None for one in judged)]
    head = "".join(f" {name:>10}" for name in more)
    lines = [f"  {'candidate':<24} {'drop':>7}{head} {'MB':>8} {'ms':>9} {'peak MB':>8}  missed"]
    for one in judged:
        why = one.failure or "; ".join(one.verdicts) or "nothing"
        lines.append(
            f"  {one.name:<24} {_cell(one.drop, 2):>7}"
            + "".join(f" {_cell(getattr(one, _OWN[name]), 2):>10}" for name in more)
            + f" {_cell(one.size / 1e6 if one.size else None, 2):>8} "
            f"{_cell(one.latency_ms, 2):>9} {_cell(one.peak_memory and one.peak_memory / 1e6, 1):>8}  {why}"
        )
    return "\n".join(lines)


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
