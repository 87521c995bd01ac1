"""A result on a terminal, by rich."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.report import tables
from edgekit.report.compare import compare
from edgekit.spec.result import Result

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderResult
    from rich.table import Table as RichTable

#: Least width of the first column.
_FIRST = 20


def render(result: Result) -> Group:
    """Both tables, the labels of the figures and the remarks, to be printed by a rich console."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    said = tables.content(result)
    return Group(
        Text(said.title, style="bold"),
        Text(),
        _Fitting(said.comparison),
        Text(),
        _Fitting(said.details),
        Text(),
        Padding(_labels(said.labels), (0, 0, 0, 1)),
        *(Text(f" ! {line}", style="yellow") for line in said.remarks),
    )


def render_comparison(before: Result, after: Result) -> Group:
    """Two results side by side. Raises UsageError where they cannot be compared."""
    from rich.console import Group
    from rich.text import Text

    found = compare(before, after)
    return Group(_Fitting(found.table), Text(f" {found.note}", style="dim"))


@dataclass(frozen=True)
class _Fitting:
    """A table that turns on its side where the terminal is too narrow for its columns."""

    table: tables.Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        upright = _upright(self.table)
        yield upright if _width(self.table) <= options.max_width else _sideways(self.table)


def _upright(table: tables.Table) -> RichTable:
    drawn = _frame(table)
    for n, column in enumerate(table.columns):
        drawn.add_column(
            _heading(column),
            justify="left" if n == 0 else "right",
            vertical="bottom" if not table.rows else "top",
            header_style="dim",
            no_wrap=n > 0,
            min_width=_FIRST if n == 0 else None,
        )
    for n, row in enumerate(table.rows):
        drawn.add_row(row[0], *("\n".join(tables.lines(one)) for one in row[1:]), style=_style(table, n))
    return drawn


def _sideways(table: tables.Table) -> RichTable:
    drawn = _frame(table)
    drawn.add_column(table.columns[0], style="dim", header_style="dim")
    for n, row in enumerate(table.rows):
        drawn.add_column(row[0], justify="right", style=_style(table, n), header_style=_style(table, n))
    for n, column in enumerate(table.columns[1:], start=1):
        drawn.add_row(column, *(row[n] for row in table.rows))
    return drawn


def _frame(table: tables.Table) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    return RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )


def _style(table: tables.Table, row: int) -> str:
    return "bold" if row in table.strong else "none"


def _heading(column: str) -> str:
    return column.replace(" ", "\n", 1) if len(column) > 9 else column


def _width(table: tables.Table) -> int:
    """Columns the upright table needs: the first may wrap, the others may not."""
    inner = 0
    for n, column in enumerate(table.columns[1:], start=1):
        cells = [part for row in table.rows for part in tables.lines(row[n])] + _heading(column).split("\n")
        inner += max(len(one) for one in cells) + 2
    return _FIRST + inner


def _labels(labels: tuple[tuple[str, str], ...]) -> RichTable:
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for figure, label in labels:
        grid.add_row(figure, Text(label))
    return grid
