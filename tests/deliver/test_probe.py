"""Which target a live board is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deliver_kit import FACTS, RPI4, RPI5

from edgekit import load
from edgekit.deliver import probe

DOT = ("asimddp", "fphp")


def test_the_model_name_decides() -> None:
    found = probe.match(FACTS, [RPI5, RPI4])
    assert found is not None
    assert (found.target.name, found.how, found.differs) == ("rpi4", "model", ())


def test_without_a_known_model_core_and_features_decide() -> None:
    emulated = replace(FACTS, model="linux,dummy-virt")
    found = probe.match(emulated, [RPI5, RPI4])
    assert found is not None
    assert (found.target.name, found.how) == ("rpi4", "cpu")
    assert [row.name for row in found.differs] == ["model"]
    newer = replace(emulated, cpu_part="0xd0b", features=FACTS.features + DOT, ram_total=4000 << 20)
    found = probe.match(newer, [RPI4, RPI5])
    assert found is not None
    assert found.target.name == "rpi5"


def test_no_target_fits_another_architecture() -> None:
    assert probe.match(replace(FACTS, arch="riscv64"), [RPI4, RPI5]) is None


def test_differences_are_rows() -> None:
    odd = replace(FACTS, python="3.13.1", glibc="2.31", cores=1, ram_total=512 << 20, features=("fp",))
    differs = {row.name: row for row in probe.compare(odd, RPI4) if not row.fits}
    assert set(differs) == {"python", "glibc", "cores", "memory", "cpu features"}
    assert differs["cpu features"].found == "lacks asimd crc32"
    assert (differs["python"].expected, differs["python"].found) == ("3.11", "3.13.1")


@pytest.mark.parametrize("target", load.targets(), ids=lambda one: one.name)
def test_every_target_recognises_its_own_board(target) -> None:  # type: ignore[no-untyped-def]
    board = replace(
        FACTS,
        arch=target.cpu.arch,
        features=target.cpu.features,
        model=target.models[0].replace("*", " Rev 1.0") if target.models else "unknown board",
        ram_total=target.ram_mb << 20,
        python=target.os.python + ".2",
        glibc=target.os.glibc,
        cores=target.cpu.cores,
    )
    found = probe.match(board, load.targets())
    assert found is not None
    if target.models:
        assert found.target.name == target.name
        assert {row.name for row in found.differs} <= {"core"}
