"""A sensitivity scan as a page with a heat map."""

from __future__ import annotations

from html import escape
from pathlib import Path

from edgekit.report import page
from edgekit.report.files import write_text
from edgekit.report.heatmap import heatmap
from edgekit.report.tables import NONE, Table
from edgekit.spec.trial import Sensitivity


def methods(found: Sensitivity) -> list[str]:
    """The methods, in the order they were tried."""
    return list(dict.fromkeys(one.method for one in found.cells))


def table(found: Sensitivity) -> Table:
    """Points lost, a row a method, a column a layer."""
    cells = {(one.method, one.layer): one for one in found.cells}
    columns = ("method alone", *(f"layer {number}" for number in range(found.layers)))
    rows = tuple(
        (method, *(_cell(found, method, number, cells[method, number].drop) for number in range(found.layers)))
        for method in methods(found)
    )
    return Table("Points of accuracy lost", columns, rows)


def summary(found: Sensitivity) -> str:
    """What the figures hold for."""
    said = (
        f"untouched {found.accuracy:.2f} % of {found.texts} validation texts; a drop below {found.error:.1f} points "
        "(one standard error) is noise"
    )
    return said + (f"; in brackets the ms a text saved on {found.target}" if found.saved_ms else "")


def reasons(found: Sensitivity) -> list[str]:
    """Why a method was not tried at a layer."""
    return [f"{one.method}, layer {one.layer}: {one.reason}" for one in found.cells if one.drop is None]


def write_html(found: Sensitivity, file: Path) -> Path:
    """Write the page to ``file``, whole or not at all."""
    names = methods(found)
    cells = {(one.method, one.layer): one.drop for one in found.cells}
    values = [[cells[method, number] for number in range(found.layers)] for method in names]
    drawn = heatmap(
        "sensitivity",
        "Points of accuracy lost by method and layer",
        names,
        [f"layer {number}" for number in range(found.layers)],
        values,
        found.error,
    )
    title = f"Sensitivity of {found.name}"
    head = (
        f'<header>\n<p class="eyebrow">edgekit analyze</p>\n<h1>{escape(title)}</h1>\n'
        f'<p class="board">{escape(summary(found))}</p>\n</header>'
    )
    caption = "Points of accuracy lost when this method alone is applied to this layer alone, without retraining."
    body = [
        head,
        page.section("Where it hurts", page.figure(drawn, caption)),
        page.section("Figures", page.table(table(found))),
    ]
    if reasons(found):
        body.append(page.section("Not tried", f'<p class="note">{escape("; ".join(reasons(found)))}</p>'))
    return write_text(file, page.document(title, body))


def _cell(found: Sensitivity, method: str, layer: int, drop: float | None) -> str:
    if drop is None:
        return NONE
    saved = (found.saved_ms or {}).get(f"{method}/{layer}")
    return f"{drop:.2f}" + (f" ({saved:.3f})" if saved is not None else "")
