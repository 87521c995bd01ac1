"""What a report says, as text in tables, before any of it is laid out: one wording for terminal, Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.benchmark.plan import BASELINE, OPTIMIZED
from edgekit.benchmark.statistics import Figures, Gain, Row, gain, summarise
from edgekit.spec.result import Result, Solution

NONE = "–"


@dataclass(frozen=True)
class Table:
    """``rows`` hold one text a column; ``strong`` are the rows that matter most."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: tuple[int, ...] = ()


@dataclass(frozen=True)
class Content:
    """All a report says. ``comparison`` holds the optimized artifact against each other solution, ``details`` each one
    by itself. ``labels`` say how each kind of figure was had, ``remarks`` which runs gave none and why."""

    title: str
    comparison: Table
    details: Table
    labels: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def content(result: Result) -> Content:
    rows = summarise(result)
    return Content(
        title=title(result),
        comparison=_comparison(result, rows),
        details=_details(rows),
        labels=_labels(result, optimized(rows)),
        remarks=_remarks(rows),
        provenance=_provenance(result),
        rows=rows,
    )


def title(result: Result) -> str:
    board = "emulated " if result.emulated else ""
    return f"{result.name} on {result.device} ({board}{result.target})"


def optimized(rows: tuple[Row, ...]) -> Row | None:
    return next((one for one in rows if one.solution.name == OPTIMIZED), None)


def _comparison(result: Result, rows: tuple[Row, ...]) -> Table:
    ours = optimized(rows)
    lines = [] if ours is None else [_versus(result, ours, one) for one in rows if one is not ours]
    language = ours is not None and ours.solution.perplexity is not None
    return Table(
        "Baseline and optimized",
        (
            "solution",
            "ms/sentence baseline",
            "ms/sentence optimized",
            "improvement",
            "memory reduction %",
            "power reduction %",
            "size",
            "accuracy",
            "Δ accuracy",
            *(("perplexity",) if language else ()),
        ),
        tuple(lines),
        strong=(0,),
    )


def _details(rows: tuple[Row, ...]) -> Table:
    return Table(
        "Each solution",
        (
            "solution",
            "median ms",
            "95 % interval",
            "p90 ms",
            "mean ms",
            "model only ms",
            "init ms",
            "first ms",
            "peak memory",
            "PSS",
            "padding",
            "n",
        ),
        tuple(_detail(one) for one in rows),
        strong=tuple(n for n, one in enumerate(rows) if one.solution.name == OPTIMIZED),
    )


def _labels(result: Result, ours: Row | None) -> tuple[tuple[str, str], ...]:
    lines = [("time", _time_label(result)), ("memory", _memory_label(result))]
    lines.append(("power", result.power))
    lines.append(("size", "measured: bytes of the shipped model file, 1 MB = 10⁶ bytes"))
    lines.append(("accuracy", _accuracy_label(ours)))
    if ours is not None and ours.figures is not None:
        lines.append(("answers on the device", _answers_label(ours.figures)))
    return tuple(lines)


def _remarks(rows: tuple[Row, ...]) -> tuple[str, ...]:
    lines = []
    for row in rows:
        lines += [f"{name_of(row.solution)}: a run failed: {why}" for why in row.failures]
        lines += [f"{name_of(row.solution)}: a run was left out as invalid: {why}" for why in row.invalid]
    return tuple(lines)


def _provenance(result: Result) -> tuple[tuple[str, str], ...]:
    facts = result.facts
    board = f"{result.device}, {'emulated ' if result.emulated else ''}{result.target}"
    system = (facts.os, facts.arch, f"Python {facts.python}", f"glibc {facts.glibc}")
    ram = f"{facts.ram_total / 2**20:.0f} MiB RAM"
    return (
        ("device", board + (f" ({facts.model})" if facts.model else "")),
        ("processor", f"{facts.cores} core{'s' * (facts.cores != 1)}, part {facts.cpu_part or 'unknown'}, {ram}"),
        ("system", ", ".join(one for one in system if one)),
        ("threads", ", ".join(sorted({str(one.job.threads) for one in result.runs})) or NONE),
        ("bundle", result.bundle[:12]),
        ("measured at", result.created),
        ("built with", ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items())) or NONE),
    )


def name_of(solution: Solution) -> str:
    """``edgekit w8_a8_static``, ``float32``, ``float32 padded to 128``."""
    scheme = "float32" if solution.scheme == "w32_a32_float" else solution.scheme
    if solution.name == OPTIMIZED:
        return f"edgekit {scheme}"
    if solution.name.startswith("padded-"):
        return f"{scheme} padded to {solution.name.removeprefix('padded-')}"
    return scheme if solution.name == BASELINE else f"{solution.name} {scheme}"


def lines(cell: str) -> list[str]:
    """A cell in the lines it may break into: ``6.1 MB`` / ``of 91.1 MB``. The rest of it stays whole."""
    for mark, kept in ((" (", "("), (" of ", "of "), (" points", "points")):
        head, found, tail = cell.partition(mark)
        if found:
            return [head, kept + tail]
    head, found, tail = cell.partition(": ")
    if found:
        return [f"{head}:", tail]
    return [cell]


def ms(value: float | None) -> str:
    """Milliseconds to about three significant digits."""
    if value is None:
        return NONE
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def mb(size: float | None) -> str:
    return NONE if size is None else f"{size / 1e6:.1f} MB"


def percent(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{_minus(value, digits)} %"


def change(reduction: float | None) -> str:
    """A reduction as the change it is: 62.4 → ``−62.4 %``."""
    return NONE if reduction is None else f"{_minus(-reduction, 1, '+')} %"


def ratio(value: float) -> str:
    return f"{times(value)}×"


def times(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def points(value: float | None) -> str:
    return NONE if value is None else _minus(value, 2, "+" if round(value, 2) else "") + " points"


def _minus(value: float, digits: int, sign: str = "") -> str:
    return f"{value:{sign}.{digits}f}".replace("-", "−")


def _versus(result: Result, ours: Row, other: Row) -> tuple[str, ...]:
    known = other.solution.name == BASELINE
    against = ours.gain if known else gain(result, ours.solution.name, other.solution.name)
    buckets = ", same length buckets" if known else ""
    return (
        f"{name_of(ours.solution)} against {name_of(other.solution)}{buckets}",
        _median(other),
        _median(ours),
        NONE if against is None else improvement(against),
        NONE if against is None else percent(against.memory_reduction),
        result.power,
        f"{mb(ours.solution.size)} of {mb(other.solution.size)}",
        percent(ours.solution.accuracy, 2),
        points(_delta(ours.solution, other.solution)),
        *((perplexities(ours.solution, other.solution),) if ours.solution.perplexity is not None else ()),
    )


def improvement(against: Gain) -> str:
    """``6.19× (6.05–6.31)``: the ratio of the medians and its 95 % interval."""
    return f"{ratio(against.speedup)} ({times(against.interval.low)}–{times(against.interval.high)})"


def perplexities(ours: Solution, other: Solution) -> str:
    """``21.40 (20.80)``: ours, and the other one's."""
    reached, before = (NONE if one.perplexity is None else f"{one.perplexity:.2f}" for one in (ours, other))
    return f"{reached} ({before})"


def _delta(ours: Solution, other: Solution) -> float | None:
    return None if ours.accuracy is None or other.accuracy is None else ours.accuracy - other.accuracy


def _median(row: Row) -> str:
    return ms(row.figures.median) if row.figures else "failed" if row.failures else NONE


def _detail(row: Row) -> tuple[str, ...]:
    it = row.figures
    if it is None:
        return (name_of(row.solution), "failed" if row.failures else NONE, *(NONE,) * 9, "0")
    return (
        name_of(row.solution),
        ms(it.median),
        f"{ms(it.interval.low)}–{ms(it.interval.high)}",
        ms(it.p90),
        ms(it.mean),
        ms(it.model_only),
        ms(it.init_ms),
        ms(it.first_ms),
        mb(it.peak_memory),
        mb(it.pss),
        percent(None if it.padding_waste is None else 100.0 * it.padding_waste, 0),
        f"{it.texts} × {it.processes}" if it.processes > 1 else str(it.texts),
    )


def _time_label(result: Result) -> str:
    what = "median per sentence, end to end: tokenize, choose the bucket, run, decode"
    if result.clock == "counted":
        return (
            f"counted, not measured: {what}. The emulated board's clock counts instructions and gives each one 8 ns: a "
            "cost in the dress of time, which repeats within 1 %. A real board will differ"
        )
    how = "measured on an emulated board, whose speed is not a real board's" if result.emulated else "measured"
    return f"{how}: {what}"


def _memory_label(result: Result) -> str:
    where = "the emulated board" if result.emulated else "the device"
    return f"measured on {where}: the process's high-water mark (VmHWM), or PSS, above the bare interpreter"


def _accuracy_label(ours: Row | None) -> str:
    if ours is None or ours.solution.accuracy is None:
        return "not measured"
    texts = f"{ours.solution.accuracy_samples:,} held-out texts"
    if ours.solution.perplexity is not None:
        texts += (
            ": the share of next tokens that were the likeliest one; perplexity is e to their mean negative "
            "log-likelihood, in brackets that of the solution it is held against"
        )
    return f"measured on the host with the very file that ships, in its own runtime, on {texts}"


def _answers_label(it: Figures) -> str:
    accuracy = "" if it.device_accuracy is None else f"{it.device_accuracy:.1f} % right"
    agreement = "" if it.agreement is None else f"{100 * it.agreement:.1f} % equal to the host's"
    said = ", ".join(one for one in (agreement, accuracy) if one) or "not compared"
    return f"measured: {said}, on the {it.texts} texts that were timed"
