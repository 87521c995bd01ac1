"""``edgekit tune``: the table, and whose it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgekit.spec.setting import Setting, Tried, Tuning

TRIED = (Tried(Setting(1), 8.0), Tried(Setting(2, (0, 1)), 4.0), Tried(Setting(4), failure="SIGSEGV"))
FOUND = Tuning("rpi4", "a" * 64, "roof-1", False, 64, 3, TRIED, Setting(2, (0, 1)))


@pytest.mark.parametrize(
    ("emulated", "whose"), [(False, "kept for every rpi4"), (True, "kept for every emulated rpi4")]
)
def test_it_shows_each_way_and_marks_the_best(
    cli: Callable[..., Any], answers: Callable[[str, Any], Any], emulated: bool, whose: str
) -> None:
    calls = answers("tune", Tuning(**{**vars(FOUND), "emulated": emulated}))
    ran = cli("tune", "mine", "--device", "roof-1", "--rounds", "5")
    lines = ran.out.splitlines()
    assert [line.split() for line in lines if "→" in line] == [["→", "2", "0,", "1", "4.00", "2.00×"]]
    assert any("SIGSEGV" in line for line in lines)
    assert whose in ran.out
    assert (calls[0].args, calls[0].kwargs["rounds"], calls[0].kwargs["device"]) == (("mine",), 5, "roof-1")
