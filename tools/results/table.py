"""docs/results.md from the records."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, median

import costs
import record
from costs import Cost, Costs
from record import GROUPS, Record

PAGE = record.FOLDER.parent / "results.md"
TITLES = {
    "teacher": "The teacher",
    "peers": "What people would use instead",
    "distill": "Distillation",
    "prune": "Pruning",
    "share": "Sharing and factoring",
    "quantize": "Quantization",
    "mixed": "Mixed precision",
    "train": "Training-time speed",
    "best": "The best combinations",
    "shapes": "Other shapes",
}
HEAD = (
    "| method | accuracy, % | Δ | file, MB | deflated, MB | ms per text | peak memory, MB | trained, s |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|\n"
)


def write(page: Path = PAGE) -> None:
    page.write_text(render(list(record.load()), costs.read_costs()), "utf-8")


def render(records: list[Record], counted: Costs | None) -> str:
    """The page. A figure that was not measured is a dash, never a guess."""
    parts = [_introduction(records)]
    for group in GROUPS:
        rows = [one for one in records if one.group == group]
        if rows:
            parts.append(f"## {TITLES[group]}\n\n{HEAD}{''.join(_row(one) for one in rows)}")
            parts += [_spread(title, seeds) for title, seeds in _by_title(rows).items() if len(seeds) > 1]
            notes = [f"- {one.title}: {one.failure or one.note}\n" for one in rows if one.failure or one.note]
            if notes:
                parts.append("".join(notes))
    return "\n".join([*parts, *([_costs(counted)] if counted else [])])


def _by_title(rows: list[Record]) -> dict[str, list[Record]]:
    return {title: [one for one in rows if one.title == title] for title in dict.fromkeys(one.title for one in rows)}


def _spread(title: str, seeds: list[Record]) -> str:
    """Which points the seeds of one recipe lost."""
    lost = [one.reference - one.accuracy for one in seeds if one.accuracy is not None and one.reference is not None]
    if len(lost) < 2:
        return ""
    failed = f" ({len(seeds) - len(lost)} more gave no figure)" if len(lost) < len(seeds) else ""
    span = f"{min(lost):+.2f} to {max(lost):+.2f}"
    return f"{title}: {len(lost)} seeds{failed}, {mean(lost):.2f} points lost in the mean ({span}).\n"


def _costs(counted: Costs) -> str:
    targets = sorted(counted.rows[0].counted)
    heads = ["what", "file, MB"]
    for one in targets:
        heads += [f"{one}, M", f"{one}, runtime alone, M"]
    heads += ["host, ms", "host, times quicker"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *(_cost(one, counted.rows[0]) for one in counted.rows)]
    return (
        "## What a sentence costs\n\n"
        f"Millions of instructions a sentence, counted on the emulated boards: median of {counted.texts} held-out\n"
        "texts, one at a time, one thread; tokenizer and all, and the runtime alone. In brackets,\n"
        "how many times fewer than the first row. Host: wall time a sentence end to end, median of\n"
        f"{counted.host_texts} texts and of {len(counted.rows[0].ratios)} rounds in which the contenders take turns,\n"
        "and the ratio within a round (least to greatest).\n\n"
    ) + "".join(f"| {' | '.join(one)} |\n" for one in lines)


def _cost(one: Cost, first: Cost) -> list[str]:
    cells = [one.title, f"{one.size / 1e6:.2f}"]
    for target, of in sorted(one.counted.items()):
        base = first.counted[target]
        cells += [
            f"{of.end_to_end:.2f} ({base.end_to_end / of.end_to_end:.1f}×)",
            f"{of.inference:.2f} ({base.inference / of.inference:.1f}×)",
        ]
    times = f"{median(one.ratios):.1f} ({min(one.ratios):.1f}–{max(one.ratios):.1f})"
    return [*cells, f"{one.host_ms:.3f}", times]


def _introduction(records: list[Record]) -> str:
    devices = sorted({f"{one.device} ({one.clock} clock)" for one in records if one.device})
    counts = sorted({one.held_out for one in records if one.accuracy is not None})
    texts = f"{' or '.join(str(one) for one in counts) or 'no'} held-out texts"
    return (
        "# Results\n\n"
        "Every method on one task: Debian's package descriptions, sorted into 20 sections. Regenerate this page with\n"
        "`python tools/results`; it reads the records in `docs/results/`, which `python tools/results methods`,\n"
        "`peers`, `shapes` and `costs` measure. A method without a row was not measured yet.\n\n"
        f"Accuracy is of the shipped file in its own runtime, on {texts}, and Δ in points against the\n"
        f"teacher. Time and memory were measured on: {', '.join(devices) or 'no device yet'}. The counted clock is\n"
        "instructions × 8 ns: a cost for comparing, not a real board's time. Memory is the process's high-water mark\n"
        "above the bare interpreter. The deflated size is what the transfer takes. Training is timed on a shared\n"
        "2-core x86 host, after the teacher's own.\n"
    )


def _row(one: Record) -> str:
    delta = None if one.accuracy is None or one.reference is None else one.accuracy - one.reference
    cells = (
        one.title,
        _cell(one.accuracy, 2),
        "–" if delta is None else f"{delta:+.2f}",
        _cell(_mega(one.size), 2),
        _cell(_mega(one.deflated), 2),
        _cell(one.latency_ms, 2),
        _cell(_mega(one.peak_memory), 1),
        _cell(one.seconds, 0),
    )
    return f"| {' | '.join(cells)} |\n"


def _mega(value: int | None) -> float | None:
    return None if value is None else value / 1e6


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
