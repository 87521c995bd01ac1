"""docs/results.md is what tools/results writes from the records, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "results"


@pytest.fixture(name="table")
def table_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(TOOL))
    import table

    yield table
    for one in TOOL.glob("*.py"):
        sys.modules.pop(one.stem, None)


def test_the_page_is_what_the_records_say(table: ModuleType, tmp_path: Path) -> None:
    table.write(tmp_path / "results.md")
    written = (ROOT / "docs" / "results.md").read_text("utf-8")
    assert (tmp_path / "results.md").read_text("utf-8") == written, "run: python tools/results"


def test_a_figure_that_was_not_measured_is_a_dash_and_a_failure_tells_why(table: ModuleType) -> None:
    import record

    bare = record.Record("quant-int4", "quantize", "four bits", failure="the runtime refused it")
    page = table.render([bare], None)
    assert "| four bits | – | – | – | – | – | – | – |" in page
    assert "- four bits: the runtime refused it" in page


def test_seeds_of_one_recipe_are_told_by_mean_and_spread(table: ModuleType) -> None:
    import record

    rows = [
        record.Record(f"small-seed{n}", "best", "small", accuracy=84.0 - n, reference=84.0, held_out=10, seed=n)
        for n in (1, 2, 3)
    ]
    assert "small: 3 seeds, 2.00 points lost in the mean (+1.00 to +3.00)." in table.render(rows, None)


def test_costs_are_told_against_the_first_row(table: ModuleType) -> None:
    import costs

    rows = (
        costs.Cost("a", "theirs", 20_000_000, {"rpi4": costs.Counted(40.0, 36.0)}, 8.0, (1.0, 1.0)),
        costs.Cost("b", "ours", 2_000_000, {"rpi4": costs.Counted(4.0, 2.0)}, 1.0, (7.5, 8.5)),
    )
    page = table.render([], costs.Costs(64, 200, rows))
    assert "| ours | 2.00 | 4.00 (10.0×) | 2.00 (18.0×) | 1.000 | 8.0 (7.5–8.5) |" in page
