"""A search as Markdown and as a page: the front, its knee, and every trial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from edgekit.report import markdown, page
from edgekit.report.files import write_text
from edgekit.report.pareto import Point, pareto
from edgekit.report.tables import NONE, Table
from edgekit.spec.recipe import Gates
from edgekit.spec.trial import Trial

KNEE = (
    "the trial of the front farthest below the straight line between the front's ends, both figures scaled to 0…1 "
    "(normal boundary intersection, Das 1999; Kneedle's distance, Satopää 2011)"
)


@dataclass(frozen=True)
class Content:
    """All that is said of a search, before it is laid out. ``trials`` are the figures, ``drawn`` the values."""

    title: str
    place: str
    trials: Table
    drawn: Table
    points: tuple[Point, ...]
    facts: tuple[tuple[str, str], ...]


def content(
    name: str,
    place: str,
    trials: Sequence[Trial],
    front: Sequence[int],
    knee: int | None,
    facts: Sequence[tuple[str, str]],
) -> Content:
    """``front`` and ``knee`` are numbers of trials; ``facts`` what else is known of the search."""
    told = [
        *facts,
        ("pareto front", _numbers(front)),
        ("knee", f"{_numbers([knee])}: {KNEE}" if knee is not None else NONE),
    ]
    return Content(
        title=f"Search of {name}",
        place=place,
        trials=_table(trials, front, knee),
        drawn=_drawn(trials, front),
        points=tuple(
            Point(
                f"trial {one.number}",
                one.option.latency_ms,
                one.option.accuracy or 0.0,
                one.option.size,
                "knee" if one.number == knee else "front" if one.number in front else "beaten",
            )
            for one in trials
            if one.state == "trained" and one.option is not None
        ),
        facts=tuple(told),
    )


def gates(gates: Gates) -> str:
    """The bounds, in words."""
    bounds = (
        (gates.accuracy_drop, "accuracy drop ≤ {:g} points"),
        (gates.size_mb, "size ≤ {:g} MB"),
        (gates.latency_ms, "latency ≤ {:g} ms"),
        (gates.peak_memory_mb, "peak memory ≤ {:g} MB (known when the winner is built)"),
    )
    return ", ".join(text.format(bound) for bound, text in bounds if bound is not None) or "none"


def write_markdown(said: Content, file: Path) -> Path:
    """Write it to ``file``, whole or not at all."""
    parts = [f"# {said.title} on {said.place}", markdown.listed(said.facts)]
    for one in (said.trials, said.drawn):
        parts += [f"## {one.title}", markdown.table(one)]
    return write_text(file, "\n\n".join(parts) + "\n")


def write_html(said: Content, file: Path) -> Path:
    """Write the page to ``file``, whole or not at all."""
    head = (
        f'<header>\n<p class="eyebrow">edgekit search</p>\n<h1>{escape(said.title)}</h1>\n'
        f'<p class="board">priced for {escape(said.place)}</p>\n</header>'
    )
    drawn = ""
    if said.points:
        drawn = page.section(
            "Accuracy against latency",
            page.figure(
                pareto("pareto", "Accuracy against latency", said.points, "ms per text, by the latency table"),
                "Validation accuracy of each trained candidate; a disc's area is its file's size. The line joins the "
                "Pareto front; the dark disc is its knee.",
            ),
        )
    figures = [page.section(one.title, page.table(one)) for one in (said.trials, said.drawn)]
    body = [head, drawn, *figures, page.section("How", page.pairs(said.facts))]
    return write_text(file, page.document(said.title, body))


def _table(trials: Sequence[Trial], front: Sequence[int], knee: int | None) -> Table:
    rows = []
    for one in trials:
        it = one.option
        mark = "knee" if one.number == knee else "front" if one.number in front else ""
        rows.append(
            (
                f"{one.number}{' · ' + mark if mark else ''}",
                one.state,
                it.name if it else NONE,
                _figure(it.accuracy if it else None, "{:.2f} %"),
                _figure(it.drop if it else None, "{:.2f}"),
                _figure(it.latency_ms if it else None, "{:.3f} ms"),
                _figure(it.size / 1e6 if it else None, "{:.2f} MB"),
            )
        )
    columns = ("trial", "state", "file", "accuracy", "drop", "latency", "size")
    return Table("Trials", columns, tuple(rows), _strong(trials, front))


def _drawn(trials: Sequence[Trial], front: Sequence[int]) -> Table:
    short = short_names(path for one in trials for path in one.settings)
    rows = tuple(
        (
            str(one.number),
            *(json.dumps(one.settings[path]) if path in one.settings else NONE for path in short),
            verdict(one),
        )
        for one in trials
    )
    return Table("What was drawn", ("trial", *short.values(), "verdict"), rows, _strong(trials, front))


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Each dotted path by the shortest end of it that no other one has."""
    known = list(dict.fromkeys(paths))

    def short(path: str) -> str:
        parts = path.split(".")
        ends = [".".join(parts[place:]) for place in reversed(range(len(parts)))]
        return next((end for end in ends if sum(f".{one}".endswith(f".{end}") for one in known) == 1), path)

    return {path: short(path) for path in known}


def verdict(trial: Trial) -> str:
    """What is said of a trial besides its figures."""
    return trial.reason or ", ".join(f"{gate} missed" for gate in trial.missed or {}) or "meets the gates"


def _strong(trials: Sequence[Trial], front: Sequence[int]) -> tuple[int, ...]:
    return tuple(place for place, one in enumerate(trials) if one.number in front)


def _figure(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value)


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(f"trial {one}" for one in numbers) or NONE
