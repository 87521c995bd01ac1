"""docs/results.md is what tools/results writes from the records, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from edgekit import load, pipeline
from edgekit.deliver import registry
from edgekit.errors import UsageError
from edgekit.home import Home
from edgekit.spec.device import Device, Emulated
from edgekit.spec.target import Target

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "results"


@pytest.fixture(name="table")
def table_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(TOOL))
    import table

    yield table
    for one in TOOL.glob("[!_]*.py"):
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


def test_a_seed_that_gave_no_figure_is_told_and_no_single_one_is_a_mean(table: ModuleType) -> None:
    import record

    rows = [record.Record(f"small-seed{n}", "best", "small", accuracy=84.0 - n, reference=84.0) for n in (1, 3)]
    failed = record.Record("small-seed4", "best", "small", failure="training diverged")
    assert "small: 2 seeds (1 more gave no figure), 2.00 points lost" in table.render([*rows, failed], None)
    assert "points lost" not in table.render([rows[0], failed], None)


def test_texts_of_every_accuracy_are_told(table: ModuleType) -> None:
    import record

    rows = [record.Record(f"a{n}", "best", f"a{n}", accuracy=84.0, held_out=n) for n in (2000, 500)]
    shape = record.Record("shape", "shapes", "shape", held_out=100)
    assert "on 500 or 2000 held-out texts" in table.render([*rows, shape], None)


def test_two_contenders_of_one_name_are_refused(table: ModuleType) -> None:
    import contender
    import costs

    one = contender.Contender("small", "small", "litert", Path("a"), Path("b"))
    costs.distinct([one, replace(one, name="other")])
    with pytest.raises(UsageError, match="small"):
        costs.distinct([one, one])


def test_the_boards_that_count_are_gone_afterwards(
    table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is not started here: what is switched off and forgotten is looked at."""
    import costs

    home, down = Home(tmp_path), []

    def power_on(home: Home, target: Target, name: str, clock: str) -> Device:
        device = Device(name, target.name, "127.0.0.1", emulated=Emulated(str(tmp_path), 1, "counted"))
        registry.add(home.devices, device)
        return device

    monkeypatch.setattr(costs, "power_on", power_on)
    monkeypatch.setattr(pipeline, "device_down", lambda name, *, home: down.append(name))

    def count() -> None:
        with costs.board_of(home, "rpi4") as device:
            assert registry.list_devices(home.devices) == (device,)
            raise UsageError("the board is gone")

    with pytest.raises(UsageError, match="gone"):
        count()
    assert down == ["costs-rpi4"]
    assert not registry.list_devices(home.devices)


def test_a_program_that_said_nothing_is_no_crash(table: ModuleType) -> None:
    import running

    assert running.last_words("") == "it said nothing"
    assert running.last_words("a\nValueError: b\n\n") == "ValueError: b"


def test_a_bundle_in_another_format_is_refused_by_name(table: ModuleType) -> None:
    import contender

    with pytest.raises(UsageError) as caught:
        contender.runtime_of("ptl")
    assert (caught.value.given, caught.value.allowed) == ("ptl", ["tflite"])


def test_a_record_says_which_board_and_clock_it_was_measured_on(table: ModuleType) -> None:
    import record

    real = Device("roof-1", "rpi4", "192.0.2.17")
    assert record.place(real) == {"device": "rpi4, roof-1", "clock": "wall"}
    assert record.place(replace(real, emulated=Emulated("folder", 1))) == {
        "device": "rpi4, emulated",
        "clock": "counted",
    }


def test_seeds_are_of_the_last_step_that_really_trains(table: ModuleType, tmp_path: Path) -> None:
    import methods

    head = "name: x\nmodel: {path: bert}\ndata: {source: jsonl, files: [a.jsonl]}\n"
    file = tmp_path / "x.yaml"
    file.write_text(head + "compress:\n- finetune: {}\n- distill: {}\n- prune: {ffn: 8, epochs: 0}\n")
    assert methods.seeded(file, [3]) == [("name=x-seed3", "compress.1.distill.seed=3")]
    file.write_text(head + "seed: 5\ncompress:\n- prune: {ffn: 8, epochs: 0}\n")
    assert methods.seed_of(load.recipe(file)) == 5, "nothing trains: it is the recipe's"
    with pytest.raises(UsageError, match="no step that trains"):
        methods.seeded(file, [3])


def test_costs_are_told_against_the_first_row(table: ModuleType) -> None:
    import costs

    rows = (
        costs.Cost("a", "theirs", 20_000_000, {"rpi4": costs.Counted(40.0, 36.0)}, 8.0, (1.0, 1.0)),
        costs.Cost("b", "ours", 2_000_000, {"rpi4": costs.Counted(4.0, 2.0)}, 1.0, (7.5, 8.5)),
    )
    page = table.render([], costs.Costs(64, 200, rows))
    assert "| ours | 2.00 | 4.00 (10.0×) | 2.00 (18.0×) | 1.000 | 8.0 (7.5–8.5) |" in page
