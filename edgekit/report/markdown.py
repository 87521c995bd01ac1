"""A result as Markdown: the same result gives the same text."""

from __future__ import annotations

from pathlib import Path

from edgekit.report import tables
from edgekit.report.files import write_text
from edgekit.spec.result import Result


def text(result: Result) -> str:
    """The whole report as Markdown (GitHub's tables)."""
    said = tables.content(result)
    parts = [f"# {escape(said.title)}"]
    for one in (said.comparison, said.details):
        parts += [f"## {one.title}", table(one)]
    parts += ["## How the figures were had", listed(said.labels)]
    if said.remarks:
        parts += ["## Left out", "\n".join(f"- {escape(one)}" for one in said.remarks)]
    parts += ["## Where they come from", listed(said.provenance)]
    return "\n\n".join(parts) + "\n"


def write(result: Result, file: Path) -> Path:
    """Write the report to ``file``, whole or not at all."""
    return write_text(file, text(result))


def table(content: tables.Table) -> str:
    """A table of GitHub's Markdown."""
    lines = [_row(content.columns), "| --- |" + " ---: |" * (len(content.columns) - 1)]
    for n, row in enumerate(content.rows):
        lines.append(_row(row, strong=n in content.strong))
    return "\n".join(lines)


def _row(cells: tuple[str, ...], strong: bool = False) -> str:
    shown = [escape(cell) for cell in cells]
    if strong:
        shown[0] = f"**{shown[0]}**"
    return "| " + " | ".join(shown) + " |"


def listed(pairs: tuple[tuple[str, str], ...]) -> str:
    """Names and values as a list."""
    return "\n".join(f"- **{name}**: {escape(value)}" for name, value in pairs)


def escape(cell: str) -> str:
    """Names stay names: underscores inside words are literal in GitHub's Markdown, the rest is escaped."""
    for character in ("\\", "|", "*", "<", "`"):
        cell = cell.replace(character, "\\" + character)
    return cell.replace("\n", " ")
