from __future__ import annotations

import os
from pathlib import Path

import bench_kit as kit
import pytest

from edgekit.benchmark import history
from edgekit.errors import SpecError, UsageError
from edgekit.spec.result import Run


def test_a_result_comes_back_whole(tmp_path: Path) -> None:
    file = history.save(kit.result(), tmp_path / "history")
    assert file.name == "20261122T201500Z-minilm-sections-rpi4.json"
    assert history.read(file) == kit.result()
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_nothing_kept_is_ever_overwritten(tmp_path: Path) -> None:
    first = history.save(kit.result(), tmp_path)
    assert history.save(kit.result(), tmp_path) == first
    second = history.save(kit.result(device="another"), tmp_path)
    assert second != first
    assert history.read(first).device == "rpi4-emulated"
    assert history.read(second).device == "another"


def test_the_newest_comes_first_and_targets_are_told_apart(tmp_path: Path) -> None:
    history.save(kit.result(created="2026-11-22T20:15:00Z"), tmp_path)
    history.save(kit.result(created="2026-12-01T08:00:00Z", target="rpi5"), tmp_path)
    history.save(kit.result(created="2026-11-30T08:00:00Z"), tmp_path)
    assert [file.name[:8] for file in history.files(tmp_path)] == ["20261201", "20261130", "20261122"]
    assert history.load(tmp_path).target == "rpi5"
    assert history.load(tmp_path, target="rpi4").created == "2026-11-30T08:00:00Z"
    assert history.load(tmp_path, "20261122").created == "2026-11-22T20:15:00Z"
    with pytest.raises(UsageError, match="several results"):
        history.load(tmp_path, "2026")


def test_one_of_two_of_the_same_second_can_be_named(tmp_path: Path) -> None:
    first = history.save(kit.result(), tmp_path)
    os.utime(first, (1, 1))
    history.save(kit.result(device="another"), tmp_path)
    assert history.load(tmp_path, first.stem).device == "rpi4-emulated"
    assert history.load(tmp_path).device == "another"


def test_a_file_elsewhere_is_a_result_too(tmp_path: Path) -> None:
    file = history.save(kit.result(), tmp_path / "a")
    assert history.load(tmp_path / "empty", str(file)) == kit.result()


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no result of target rpi4") as caught:
        history.load(tmp_path, target="rpi4")
    assert "edgekit bench" in caught.value.remedy
    with pytest.raises(UsageError, match="no such result"):
        history.load(tmp_path, "20260101")
    with pytest.raises(UsageError, match="no such result"):
        history.read(tmp_path / "gone.json")


@pytest.mark.parametrize("damage", [b"", b"{", b'{"schema": 1}', b"\xff\xfe\x00"])
def test_a_damaged_file_is_named(damage: bytes, tmp_path: Path) -> None:
    file = history.save(kit.result(), tmp_path)
    file.write_bytes(damage)
    with pytest.raises(SpecError) as caught:
        history.load(tmp_path)
    assert file.name in caught.value.where
    assert caught.value.remedy


def test_a_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    run = Run(kit.job(kit.OPTIMIZED), failure="x")
    file = history.save(kit.result((run,), solutions=(kit.OPTIMIZED,), name="../../évil name"), tmp_path / "h")
    assert file.parent == tmp_path / "h"
