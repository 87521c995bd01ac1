"""``tools/bench-engine``: what its tables say of the figures, and that the page says what was recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from edgekit.errors import UsageError
from edgekit.spec import codec

ROOT = Path(__file__).parents[1]
TOOLS = (ROOT / "tools" / "bench-engine", ROOT / "tools" / "results")


@pytest.fixture(name="tool")
def tool_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType]]:
    for folder in TOOLS:
        monkeypatch.syspath_prepend(str(folder))
    import columns
    import engine

    yield columns, engine
    for folder in TOOLS:
        for one in folder.glob("[!_]*.py"):
            sys.modules.pop(one.stem, None)


def _table(engine: ModuleType) -> object:
    peer = engine.Row("peer", 2_000_000, (0, 1, 1), ((2.0, 4.0, 8.0), (2.0, 4.0, 80.0)), {"rpi4": (20.0, 40.0, 60.0)})
    other = engine.Row("other", 1_000_000, (0, 0, 0), ((1.0, 9.0, 9.0),) * 2, missing={"rpi4": "no wheel"})
    ours = engine.Row("edgekit x", 1_000_000, (0, 1, 0), ((1.0, 2.0, 4.0),) * 2, {"rpi4": (10.0, 20.0, 30.0)})
    return engine.Table((8, 12, 20), (0, 1, 0), (peer, other, ours), 1)


def test_edgekit_is_held_against_the_best_of_each_column(tool: tuple[ModuleType, ModuleType]) -> None:
    columns, engine = tool
    host, board, missing = (
        columns.rendered(_table(engine)).split("\n\n**rpi4")[0],
        *(columns.rendered(_table(engine)).split("**rpi4")[1].split("\n\n- ")),
    )
    assert "| edgekit ahead of the best | 1.00× | 2.00× | 2.25× | 2.71× |  |  |" in host, (
        "one peer is best for 8 tokens"
    )
    assert "| other | 1.000 | 9.000 | 9.000 | 6.333 | 66.67 | 1.0 |" in host
    assert "| edgekit ahead of the best | 2.00× | 2.00× | 2.00× | 2.00× |" in board
    assert "| other | – | – | – | – |" in board
    assert missing.strip() == "other, rpi4: no wheel"


def test_a_slower_engine_is_told_as_one(tool: tuple[ModuleType, ModuleType]) -> None:
    columns, engine = tool
    found = _table(engine)
    slow = replace(found.rows[-1], host=((4.0, 8.0, 16.0),) * 2)  # type: ignore[attr-defined]
    said = columns.rendered(replace(found, rows=(*found.rows[:-1], slow)))  # type: ignore[type-var,attr-defined]
    assert "| edgekit ahead of the best | 0.25× | 0.50× | 0.56× | 0.68× |" in said


def test_the_page_says_what_was_recorded(tool: tuple[ModuleType, ModuleType]) -> None:
    columns, engine = tool
    recorded = ROOT / "docs" / "engine.json"
    found = codec.loads(engine.Table, recorded.read_text("utf-8"))
    assert recorded.with_suffix(".md").read_text("utf-8") == columns.page(found)
    assert len(found.tokens) == 500


def test_a_place_measured_again_replaces_its_old_figures_and_no_others(tool: tuple[ModuleType, ModuleType]) -> None:
    columns, engine = tool
    before = _table(engine)
    later = [
        engine.Row(one.name, one.size, (), (), {"rpi4": (1.0, 2.0, 3.0), "rpi5": (4.0, 5.0, 6.0)})
        for one in before.rows  # type: ignore[attr-defined]
    ]
    now = replace(before, rows=tuple(later))  # type: ignore[type-var]
    found = engine.joined(before, now)
    assert [one.host for one in found.rows] == [one.host for one in before.rows]  # type: ignore[attr-defined]
    assert [one.labels for one in found.rows] == [one.labels for one in before.rows]  # type: ignore[attr-defined]
    assert {one.counted["rpi4"] for one in found.rows} == {(1.0, 2.0, 3.0)}
    assert not any(one.missing for one in found.rows), "what was missing there has figures now"
    assert "| peer | – | – |" in columns.rendered(now), "not asked on the host"
    others = replace(now, rows=tuple(replace(one, size=one.size + 1) for one in later))  # type: ignore[type-var]
    with pytest.raises(UsageError, match="other files"):
        engine.joined(before, others)
    with pytest.raises(UsageError, match="other texts"):
        engine.joined(before, replace(now, truth=(1, 1, 1)))  # type: ignore[type-var]


def test_edgekit_is_one_bundle_in_all_columns(tool: tuple[ModuleType, ModuleType]) -> None:
    columns, engine = tool
    found = _table(engine)
    short = engine.Row("edgekit y", 1_000_000, (0, 1, 0), ((0.1, 9.0, 9.0),) * 2, {"rpi4": (1.0, 90.0, 90.0)})
    two = replace(found, rows=(*found.rows, short), ours=2)  # type: ignore[type-var,attr-defined]
    ahead = [line for line in columns.rendered(two).splitlines() if line.startswith("| edgekit ahead")]
    alone = [line for line in columns.rendered(found).splitlines() if line.startswith("| edgekit ahead")]
    assert ahead == alone, "the other one is quicker with short texts alone, and does not ship"
