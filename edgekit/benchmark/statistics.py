"""What the raw runs of a result say: medians with intervals, percentiles the sample can carry, gains over a baseline.

A run that failed or is invalid gives no figure; its row says so. Intervals are 95 % percentile bootstrap intervals
(Efron & Tibshirani 1993, ch. 13) that draw processes and, within them, texts; a gain draws the same texts for both
sides, as the texts were the same. The seed is fixed: equal results give equal rows.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekit.benchmark.plan import BASELINE, OPTIMIZED, percentile_needs
from edgekit.errors import UsageError
from edgekit.spec.result import Measured, Result, Solution

_DRAWS, _SEED = 1000, 20


@dataclass(frozen=True)
class Interval:
    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Figures:
    """One solution's figures over ``processes`` valid runs of the same ``texts``. Times in ms, memory in bytes.

    ``median``, ``mean``, ``p90``, ``p99`` are per sentence end to end (a percentile is ``None`` where there are too few
    texts), ``model_only`` is the runtime's median. ``peak_memory`` is VmHWM less the bare interpreter's RSS, ``pss``
    the proportional set less the bare interpreter's; both the largest of all processes. ``device_accuracy`` is in per
    cent on the timed texts (of a language model, on their next tokens), ``agreement`` the share of answers equal to the
    host's (optimized only). ``padding_waste`` is the share of computed tokens that were padding. ``end_to_end`` holds
    all values, in order.
    """

    processes: int
    texts: int
    median: float
    interval: Interval
    mean: float
    p90: float | None
    p99: float | None
    model_only: float
    import_ms: float
    init_ms: float
    first_ms: float
    peak_memory: int
    pss: int
    device_accuracy: float | None
    agreement: float | None
    padding_waste: float | None
    end_to_end: tuple[float, ...]


@dataclass(frozen=True)
class Gain:
    """A solution against another: how many times faster (medians) and smaller, per cent of peak memory saved,
    points of accuracy."""

    against: str
    speedup: float
    interval: Interval
    memory_reduction: float | None
    size_ratio: float
    accuracy_delta: float | None


@dataclass(frozen=True)
class Row:
    """``figures`` are ``None`` where no run was usable; ``failures`` and ``invalid`` say why runs were left out."""

    solution: Solution
    figures: Figures | None
    gain: Gain | None = None
    failures: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()


def summarise(result: Result) -> tuple[Row, ...]:
    """A row for each solution, in the result's order, with its gain over the solution ``baseline``."""
    return tuple(_row(result, one) for one in result.solutions)


def gain(result: Result, name: str, against: str) -> Gain | None:
    """Solution ``name`` against solution ``against``; ``None`` where one of them has no usable run.

    Raises UsageError where the result holds no such solution.
    """
    new, old = _solution(result, name), _solution(result, against)
    ours, theirs = _valid(result, name), _valid(result, against)
    if not ours or not theirs:
        return None
    fast, slow = [one.end_to_end for one in ours], [one.end_to_end for one in theirs]
    memory, reference = _peak(ours), _peak(theirs)
    known = new.accuracy is not None and old.accuracy is not None
    return Gain(
        against=against,
        speedup=statistics.median(_pool(slow)) / statistics.median(_pool(fast)),
        interval=_speedup_interval(fast, slow),
        memory_reduction=100.0 * (reference - memory) / reference if reference > 0 else None,
        size_ratio=old.size / new.size,
        accuracy_delta=(new.accuracy or 0.0) - (old.accuracy or 0.0) if known else None,
    )


def percentile(values: Sequence[float], p: float, texts: int | None = None) -> float | None:
    """The percentile by nearest rank, or ``None`` where ``texts`` (default: all values) are too few to claim it."""
    if (len(values) if texts is None else texts) < percentile_needs(p):
        return None
    return sorted(values)[math.ceil(p * len(values)) - 1]


def median_interval(runs: Sequence[Sequence[float]]) -> Interval:
    """Bootstrap interval of the median over processes (``runs``) of equally long series of texts."""

    def draw(rng: random.Random) -> float:
        return statistics.median(_draw(rng, runs, _texts(rng, runs)))

    return _bootstrap(draw)


def _speedup_interval(fast: Sequence[Sequence[float]], slow: Sequence[Sequence[float]]) -> Interval:
    paired = len(fast[0]) == len(slow[0])

    def draw(rng: random.Random) -> float:
        texts = _texts(rng, fast)
        base = statistics.median(_draw(rng, slow, texts if paired else _texts(rng, slow)))
        return base / statistics.median(_draw(rng, fast, texts))

    return _bootstrap(draw)


def _texts(rng: random.Random, runs: Sequence[Sequence[float]]) -> list[int]:
    length = min(len(one) for one in runs)
    return rng.choices(range(length), k=length)


def _draw(rng: random.Random, runs: Sequence[Sequence[float]], texts: Sequence[int]) -> list[float]:
    return [run[text] for run in rng.choices(runs, k=len(runs)) for text in texts]


def _bootstrap(draw: Callable[[random.Random], float]) -> Interval:
    rng = random.Random(_SEED)
    drawn = sorted(draw(rng) for _ in range(_DRAWS))
    return Interval(drawn[math.floor(0.025 * _DRAWS)], drawn[math.ceil(0.975 * _DRAWS) - 1])


def _row(result: Result, solution: Solution) -> Row:
    runs = [one for one in result.runs if one.job.solution == solution.name]
    return Row(
        solution=solution,
        figures=_figures(result, solution),
        gain=gain(result, solution.name, BASELINE) if _has_baseline(result) and solution.name != BASELINE else None,
        failures=tuple(one.failure for one in runs if one.failure is not None),
        invalid=tuple(", ".join(one.invalid) for one in runs if one.invalid),
    )


def _figures(result: Result, solution: Solution) -> Figures | None:
    runs = _valid(result, solution.name)
    if not runs:
        return None
    series = [one.end_to_end for one in runs]
    values = _pool(series)
    texts = min(len(one) for one in series)
    padded = sum(one.padded_tokens for one in runs)
    agreement = _share(runs, result.host_labels) if solution.name == OPTIMIZED else None
    accuracy = _share(runs, result.truth)
    told = [one.language for one in runs if one.language is not None]
    if told:
        accuracy = sum(one.hits for one in told) / max(1, sum(one.tokens for one in told))
    return Figures(
        processes=len(runs),
        texts=texts,
        median=statistics.median(values),
        interval=median_interval(series),
        mean=statistics.fmean(values),
        p90=percentile(values, 0.9, texts),
        p99=percentile(values, 0.99, texts),
        model_only=statistics.median(_pool([one.model_only for one in runs])),
        import_ms=statistics.median(one.import_ms for one in runs),
        init_ms=statistics.median(one.init_ms for one in runs),
        first_ms=statistics.median(one.first_ms for one in runs),
        peak_memory=_peak(runs),
        pss=max(one.pss - one.bare_pss for one in runs),
        device_accuracy=None if accuracy is None else 100.0 * accuracy,
        agreement=agreement,
        padding_waste=1.0 - sum(one.real_tokens for one in runs) / padded if padded else None,
        end_to_end=tuple(values),
    )


def _valid(result: Result, name: str) -> list[Measured]:
    runs = [one for one in result.runs if one.job.solution == name and not one.failure and not one.invalid]
    return [one.measured for one in runs if one.measured is not None and one.measured.end_to_end]


def _solution(result: Result, name: str) -> Solution:
    for one in result.solutions:
        if one.name == name:
            return one
    raise UsageError("no such solution in this result", given=name, allowed=[one.name for one in result.solutions])


def _has_baseline(result: Result) -> bool:
    return any(one.name == BASELINE for one in result.solutions)


def _peak(runs: Sequence[Measured]) -> int:
    return max(one.vm_hwm - one.bare_rss for one in runs)


def _pool(series: Sequence[Sequence[float]]) -> list[float]:
    return [value for one in series for value in one]


def _share(runs: Sequence[Measured], expected: Sequence[int]) -> float | None:
    pairs = [pair for one in runs for pair in zip(one.labels, expected, strict=False)]
    return sum(given == wanted for given, wanted in pairs) / len(pairs) if pairs else None
