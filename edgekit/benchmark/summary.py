"""A result summed up for programs: one flat line a solution, with the figures that the reports print."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.benchmark.statistics import Row, summarise
from edgekit.spec.result import Result


@dataclass(frozen=True)
class Line:
    """One solution; what was not measured is ``None``.

    ``texts`` timed in each of ``processes``; times in ms a sentence, end to end, with the 95 % bootstrap interval of
    the median. ``improvement`` is the baseline's median ÷ this one's, with its interval; ``memory_reduction`` per cent
    of the baseline's ``peak_memory`` (bytes above the bare interpreter). ``size`` in bytes. ``accuracy`` in per cent
    on the held-out texts, ``accuracy_delta`` in points against the baseline; ``perplexity`` of a language model;
    ``device_accuracy`` in per cent on the
    timed texts, ``agreement`` the share of answers equal to the host's. ``left_out`` says why runs gave no figure.
    """

    solution: str
    artifact: str
    size: int
    texts: int = 0
    processes: int = 0
    median_ms: float | None = None
    median_low: float | None = None
    median_high: float | None = None
    p90_ms: float | None = None
    improvement: float | None = None
    improvement_low: float | None = None
    improvement_high: float | None = None
    peak_memory: int | None = None
    memory_reduction: float | None = None
    accuracy: float | None = None
    accuracy_delta: float | None = None
    device_accuracy: float | None = None
    agreement: float | None = None
    left_out: tuple[str, ...] = ()
    perplexity: float | None = None


def lines(result: Result) -> tuple[Line, ...]:
    """A line for each solution, in the result's order."""
    return tuple(_line(one) for one in summarise(result))


def _line(row: Row) -> Line:
    it, gain = row.figures, row.gain
    return Line(
        solution=row.solution.name,
        artifact=row.solution.artifact,
        size=row.solution.size,
        texts=it.texts if it else 0,
        processes=it.processes if it else 0,
        median_ms=it.median if it else None,
        median_low=it.interval.low if it else None,
        median_high=it.interval.high if it else None,
        p90_ms=it.p90 if it else None,
        improvement=gain.speedup if gain else None,
        improvement_low=gain.interval.low if gain else None,
        improvement_high=gain.interval.high if gain else None,
        peak_memory=it.peak_memory if it else None,
        memory_reduction=gain.memory_reduction if gain else None,
        accuracy=row.solution.accuracy,
        accuracy_delta=gain.accuracy_delta if gain else None,
        device_accuracy=it.device_accuracy if it else None,
        agreement=it.agreement if it else None,
        left_out=(*row.failures, *row.invalid),
        perplexity=row.solution.perplexity,
    )
