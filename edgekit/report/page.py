"""The parts of a report's page: no script, no outside resource, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edgekit.report import tables
from edgekit.report.style import CSS


def document(title: str, body: Sequence[str]) -> str:
    """The page around its parts; empty ones are left out."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(one for one in body if one)
        + "\n</main>\n</body>\n</html>\n"
    )


def figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def section(title: str, inner: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{inner}\n</section>"


def table(content: tables.Table) -> str:
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in content.columns)
    lines = []
    for n, row in enumerate(content.rows):
        cells = f'<th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{_cell(one)}</td>" for one in row[1:])
        lines.append(f'<tr class="strong">{cells}</tr>' if n in content.strong else f"<tr>{cells}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(content.title)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(cell: str) -> str:
    return "<br>".join(escape(one) for one in tables.lines(cell))


def pairs(rows: tuple[tuple[str, str], ...]) -> str:
    inner = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f'<dl class="pairs">{inner}</dl>'
