"""docs/results.md from the records."""

from __future__ import annotations

from pathlib import Path

import record
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
}
HEAD = (
    "| method | accuracy, % | Δ | file, MB | deflated, MB | ms per text | peak memory, MB | trained, s |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|\n"
)


def write(page: Path = PAGE) -> None:
    page.write_text(render(list(record.load())), "utf-8")


def render(records: list[Record]) -> str:
    """The page. A figure that was not measured is a dash, never a guess."""
    parts = [_introduction(records)]
    for group in GROUPS:
        rows = [one for one in records if one.group == group]
        if rows:
            parts.append(f"## {TITLES[group]}\n\n{HEAD}{''.join(_row(one) for one in rows)}")
            notes = [f"- {one.title}: {one.failure or one.note}\n" for one in rows if one.failure or one.note]
            if notes:
                parts.append("".join(notes))
    return "\n".join(parts)


def _introduction(records: list[Record]) -> str:
    devices = sorted({f"{one.device} ({one.clock} clock)" for one in records if one.device})
    texts = max((one.held_out for one in records), default=0)
    return (
        "# Results\n\n"
        "Every method on one task: Debian's package descriptions, sorted into 20 sections. Regenerate this page with\n"
        "`python tools/results`; it reads the records in `docs/results/`, which `python tools/results methods` and\n"
        "`python tools/results peers` measure.\n\n"
        f"Accuracy is of the shipped file in its own runtime, on {texts} held-out texts, and Δ in points against the\n"
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
