"""Two results of the same kind of board side by side; what cannot be compared is refused."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.benchmark.statistics import Row, summarise
from edgekit.errors import UsageError
from edgekit.report import tables
from edgekit.spec.result import Result


@dataclass(frozen=True)
class Change:
    """One solution before and after. ``ratio`` > 1 is faster; ``overlap`` says that the 95 % intervals of the medians
    meet, so that the difference may be chance. ``memory`` and ``size`` are after ÷ before."""

    name: str
    before: str
    after: str
    ratio: float | None
    overlap: bool | None
    memory: float | None
    size: float
    accuracy_delta: float | None


@dataclass(frozen=True)
class Comparison:
    changes: tuple[Change, ...]
    table: tables.Table
    note: str


def compare(before: Result, after: Result) -> Comparison:
    """Each solution that both results hold. Raises UsageError for results of different targets or clocks."""
    for what, old, new in (
        ("targets", before.target, after.target),
        ("clocks", before.clock, after.clock),
        ("kinds of board", _kind(before), _kind(after)),
    ):
        if old != new:
            raise UsageError(
                f"results of different {what} cannot be compared",
                given=f"{old} and {new}",
                remedy="measure both on the same kind of board: edgekit bench BUNDLE --compare RESULT",
            )
    then = {one.solution.name: one for one in summarise(before)}
    changes = tuple(_change(then[one.solution.name], one) for one in summarise(after) if one.solution.name in then)
    if not changes:
        raise UsageError("the results have no solution in common", given=sorted(then))
    table = tables.Table(
        f"{before.name} {before.created} → {after.name} {after.created}",
        ("solution", "ms before", "ms after", "speed-up", "intervals", "memory", "size", "Δ accuracy"),
        tuple(_line(one, then[one.name], now) for one, now in zip(changes, _matching(after, then), strict=True)),
        tuple(n for n, one in enumerate(changes) if one.overlap is False),
    )
    return Comparison(changes, table, _note(after))


def _matching(after: Result, then: dict[str, Row]) -> list[Row]:
    return [one for one in summarise(after) if one.solution.name in then]


def _change(old: Row, new: Row) -> Change:
    a, b = old.figures, new.figures
    both = a is not None and b is not None
    known = old.solution.accuracy is not None and new.solution.accuracy is not None
    return Change(
        name=new.solution.name,
        before=tables.name_of(old.solution),
        after=tables.name_of(new.solution),
        ratio=a.median / b.median if a and b else None,
        overlap=a.interval.overlaps(b.interval) if a and b else None,
        memory=b.peak_memory / a.peak_memory if a and b and both and a.peak_memory > 0 else None,
        size=new.solution.size / old.solution.size,
        accuracy_delta=(new.solution.accuracy or 0.0) - (old.solution.accuracy or 0.0) if known else None,
    )


def _line(one: Change, old: Row, new: Row) -> tuple[str, ...]:
    name = one.after if one.before == one.after else f"{one.before} → {one.after}"
    said = {True: "overlap", False: "apart", None: tables.NONE}[one.overlap]
    return (
        name,
        tables.ms(old.figures.median if old.figures else None),
        tables.ms(new.figures.median if new.figures else None),
        tables.NONE if one.ratio is None else tables.ratio(one.ratio),
        said,
        tables.NONE if one.memory is None else tables.ratio(one.memory),
        tables.ratio(one.size),
        tables.points(one.accuracy_delta),
    )


def _kind(result: Result) -> str:
    return "an emulated board" if result.emulated else "a real board"


def _note(result: Result) -> str:
    clock = "counted (instructions × 8 ns), not measured" if result.clock == "counted" else "measured"
    return (
        f"Times are {clock}; speed-up over 1× is faster; memory and size are after ÷ before. "
        "Where the 95 % intervals overlap, the difference may be chance."
    )
