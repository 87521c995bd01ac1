"""A result as one HTML page: no script, no outside resource, light and dark, readable without its plots."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from edgekit.benchmark.plan import BASELINE, OPTIMIZED
from edgekit.benchmark.statistics import Row
from edgekit.report import page, plots, tables
from edgekit.report.files import write_text
from edgekit.spec.result import Result, Solution


def text(result: Result) -> str:
    """The page. The same result gives the same text."""
    said = tables.content(result)
    body = [
        _header(result, said),
        page.section("Baseline and optimized", page.table(said.comparison)),
        *_plots(result, said.rows),
        page.section(said.details.title, page.table(said.details)),
        _remarks(said.remarks),
        page.section("How the figures were had", page.pairs(said.labels)),
        page.section("Where they come from", page.pairs(said.provenance)),
    ]
    return page.document(said.title, body)


def write(result: Result, file: Path) -> Path:
    """Write the page to ``file``, whole or not at all."""
    return write_text(file, text(result))


def _header(result: Result, said: tables.Content) -> str:
    chips = ["emulated board" if result.emulated else "real board"]
    chips.append("counted clock: times are instructions × 8 ns" if result.clock == "counted" else "wall clock")
    marks = "".join(f'<li class="chip">{escape(one)}</li>' for one in chips)
    return (
        f'<header>\n<p class="eyebrow">edgekit benchmark · {escape(result.created)}</p>\n'
        f'<h1>{escape(result.name)}</h1>\n<p class="board">on {escape(result.device)}, {escape(result.target)}</p>\n'
        f'<ul class="chips">{marks}</ul>\n{_headline(result, said)}\n</header>'
    )


def _headline(result: Result, said: tables.Content) -> str:
    """The four figures that matter, against the float baseline in the same length buckets."""
    ours = tables.optimized(said.rows)
    if ours is None or ours.gain is None or ours.figures is None:
        return ""
    won = ours.gain
    interval = f"{won.interval.low:.2f}–{won.interval.high:.2f} at 95 %"
    memory = "of peak memory, above the bare interpreter"
    tiles = [
        (*_times(won.speedup, "faster per sentence", "slower per sentence"), interval),
        (*_times(won.size_ratio, "smaller", "larger"), f"{tables.mb(ours.solution.size)} on disk"),
        (tables.change(won.memory_reduction), memory, f"{tables.mb(ours.figures.peak_memory)} at its peak"),
        _accuracy(ours.solution, won.accuracy_delta),
    ]
    cells = "".join(
        f'<div class="tile"><dt>{escape(what)}</dt><dd>{escape(value)}</dd><dd class="aside">{escape(aside)}</dd></div>'
        for value, what, aside in tiles
    )
    kind = "counted" if result.clock == "counted" else "measured"
    note = f"{tables.name_of(ours.solution)} against float32 in the same length buckets, on the same board; time {kind}"
    return f'<dl class="tiles">{cells}</dl>\n<p class="note">{escape(note)}</p>'


def _accuracy(solution: Solution, delta: float | None) -> tuple[str, str, str]:
    if delta is None:
        return (tables.NONE, "accuracy not measured", "")
    if solution.perplexity is not None:
        aside = f"{tables.percent(solution.accuracy, 2)} of next tokens, {tables.points(delta)}"
        return (f"{solution.perplexity:.2f}", f"perplexity, on {solution.accuracy_samples:,} held-out texts", aside)
    value, _, unit = tables.points(delta).partition(" ")
    texts = f"{unit} of accuracy, on {solution.accuracy_samples:,} held-out texts"
    return (value, texts, tables.percent(solution.accuracy, 2))


def _times(ratio: float, better: str, worse: str) -> tuple[str, str]:
    return (tables.ratio(ratio), better) if ratio >= 1 else (tables.ratio(1 / ratio), worse)


def _plots(result: Result, rows: tuple[Row, ...]) -> list[str]:
    measured = [(one, one.figures) for one in rows if one.figures is not None]
    if not measured:
        return []
    kind = "counted" if result.clock == "counted" else "measured"
    time = plots.bars(
        "time",
        f"Milliseconds per sentence, {kind}",
        [
            plots.Bar(
                tables.name_of(row.solution),
                it.median,
                tables.ms(it.median),
                _style(row),
                it.interval.low,
                it.interval.high,
            )
            for row, it in measured
        ],
    )
    memory = plots.bars(
        "memory",
        "Peak memory above the bare interpreter",
        [
            plots.Bar(tables.name_of(row.solution), max(it.peak_memory, 0), tables.mb(it.peak_memory), _style(row))
            for row, it in measured
        ],
        plots.HALF,
    )
    size = plots.bars(
        "size",
        "Size of the model file",
        [
            plots.Bar(tables.name_of(one.solution), one.solution.size, tables.mb(one.solution.size), _style(one))
            for one in rows
        ],
        plots.HALF,
    )
    spread = plots.ecdf(
        "spread",
        "Share of sentences answered within a time",
        f"ms per sentence, {kind}",
        [plots.Series(tables.name_of(row.solution), it.end_to_end, _style(row)) for row, it in measured],
    )
    whiskers = f"Milliseconds per sentence, median, {kind}. Whiskers: 95 % bootstrap interval. Less is better."
    return [
        page.section("Time per sentence", page.figure(time, whiskers)),
        page.section(
            "Memory and size",
            '<div class="pair">'
            + page.figure(memory, "Peak memory above the bare interpreter.")
            + page.figure(size, "Model file on disk.")
            + "</div>",
        ),
        page.section(
            "Spread over the sentences",
            page.figure(_legend([row for row, _ in measured]) + spread, "Share of sentences answered within a time."),
        ),
    ]


def _style(row: Row) -> str:
    return {OPTIMIZED: "optimized", BASELINE: "baseline"}.get(row.solution.name, "padded")


def _legend(rows: Sequence[Row]) -> str:
    items = (f'<li><i class="{_style(one)}"></i>{escape(tables.name_of(one.solution))}</li>' for one in rows)
    return f'<ul class="legend">{"".join(items)}</ul>'


def _remarks(remarks: tuple[str, ...]) -> str:
    if not remarks:
        return ""
    return page.section("Left out", f'<ul class="remarks">{"".join(f"<li>{escape(one)}</li>" for one in remarks)}</ul>')
