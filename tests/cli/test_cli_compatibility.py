"""What runs where, as people and programs read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit import load

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


def test_the_page_is_what_the_verb_prints(cli: Any) -> None:
    assert cli("targets", "--markdown").out == PAGE.read_text()


def test_the_table_names_every_board_and_its_reasons(cli: Any) -> None:
    out = cli("targets", "--compatibility").out
    assert all(one.name in out for one in load.targets())
    assert "1) " in out


def test_a_program_gets_a_verdict_a_cell(cli: Any) -> None:
    verdicts = cli("targets", "--compatibility", "--json").json["verdicts"]
    (cell,) = (
        one
        for one in verdicts
        if (one["target"], one["format"], one["scheme"]) == ("generic-armv7", "tflite", "w8_a8_static")
    )
    assert cell["runtime"] == "tflite"
