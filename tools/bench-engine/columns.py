"""The tables: edgekit against the best of the others, for all texts together and by their length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean, median

from engine import Row, Table

#: Tokens, both ends included.
CLASSES = ((1, 8), (9, 12), (13, 16), (17, 24), (25, 512))


def rendered(table: Table) -> str:
    """One table a place, in Markdown; in each column the texts of one length class, and all of them."""
    targets = sorted({target for row in table.rows for target in row.counted})
    parts = [
        _place(table, "host: wall ms a text, median of the rounds' means", _host),
        *(
            _place(
                table,
                f"{target}: millions of ARM instructions a text, counted under emulation, mean",
                lambda row, texts, target=target: _board(row, target, texts),  # type: ignore[misc]
            )
            for target in targets
        ),
    ]
    notes = [f"- {row.name}, {place}: {why}" for row in table.rows for place, why in sorted(row.missing.items())]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _place(table: Table, title: str, cost: Callable[[Row, Sequence[int]], float | None]) -> str:
    columns = [(f"{low}–{high} tokens", _texts(table, low, high)) for low, high in CLASSES]
    columns = [one for one in columns if one[1]] + [("mixed", list(range(len(table.tokens))))]
    lines = [
        ["", *(f"{name} ({len(texts)})" for name, texts in columns), "accuracy, %", "file, MB"],
        ["---", *["---:"] * (len(columns) + 2)],
    ]
    for row in table.rows:
        cells = [cost(row, texts) for _, texts in columns]
        figures = ["–" if one is None else f"{one:.3f}" for one in cells]
        lines.append([row.name, *figures, _accuracy(row, table.truth), f"{row.size / 1e6:.1f}"])
    lines.append(["edgekit ahead of the best", *(_ahead(table, texts, cost) for _, texts in columns), "", ""])
    return f"**{title}**\n\n" + "\n".join(f"| {' | '.join(one)} |" for one in lines)


def _ahead(table: Table, texts: Sequence[int], cost: Callable[[Row, Sequence[int]], float | None]) -> str:
    """Times; below 1 it is behind. Of edgekit's rows the one that is best over all texts: one bundle ships."""
    others = [found for row in table.rows[: -table.ours] if (found := cost(row, texts)) is not None]
    whole = list(range(len(table.tokens)))
    ours = [(found, row) for row in table.rows[-table.ours :] if (found := cost(row, whole)) is not None]
    if not others or not ours:
        return "–"
    shipped = cost(min(ours, key=lambda one: one[0])[1], texts)
    assert shipped is not None
    return f"{min(others) / shipped:.2f}×"


def _accuracy(row: Row, truth: Sequence[int]) -> str:
    """In per cent; a dash where its answers are not known."""
    if not row.labels:
        return "–"
    return f"{100 * mean(given == label for given, label in zip(row.labels, truth, strict=True)):.2f}"


def _texts(table: Table, low: int, high: int) -> list[int]:
    return [number for number, tokens in enumerate(table.tokens) if low <= tokens <= high]


def _host(row: Row, texts: Sequence[int]) -> float | None:
    return median(mean(one[text] for text in texts) for one in row.host) if row.host else None


def _board(row: Row, target: str, texts: Sequence[int]) -> float | None:
    found = row.counted.get(target)
    return None if found is None else mean(found[text] for text in texts)


def page(table: Table) -> str:
    """The tables with what has to be known of them."""
    return (
        "# The engine against plain scripts\n\n"
        "Written by `python tools/bench-engine … --record docs/engine.json`, each table in one run: one fine-tuned\n"
        f"MiniLM (6 layers × 384), its weights in every row, the first {len(table.tokens)} held-out texts of Debian's\n"
        "package sections, one by one, on one thread. The peers are what one writes without edgekit: a tokenizer,\n"
        "the runtime's Python package, its own quantizer. Each column is the texts of so many tokens, both ends\n"
        "included.\n\n"
        f"{rendered(table)}\n"
    )
