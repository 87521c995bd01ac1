"""The registered devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.deliver import registry
from edgekit.errors import SpecError, UsageError
from edgekit.spec.device import Device, Emulated

KITCHEN = Device("kitchen", "rpi4", "10.0.0.7", host_key="ssh-ed25519 AAAA")
ATTIC = Device("attic", "rpi5", "attic.local", 2222, "me", emulated=Emulated("/x", 7, "counted"))


def test_what_is_added_can_be_had_again(tmp_path: Path) -> None:
    folder = tmp_path / "devices"
    assert registry.list_devices(folder) == ()
    registry.add(folder, KITCHEN)
    registry.add(folder, ATTIC)
    assert registry.get(folder, "kitchen") == KITCHEN
    assert registry.list_devices(folder) == (ATTIC, KITCHEN)
    assert registry.remove(folder, "attic") == ATTIC
    assert registry.list_devices(folder) == (KITCHEN,)
    assert [one.name for one in folder.iterdir()] == ["kitchen.json"]


def test_a_taken_name_is_not_overwritten_unasked(tmp_path: Path) -> None:
    registry.add(tmp_path, KITCHEN)
    with pytest.raises(UsageError, match="registered already"):
        registry.add(tmp_path, Device("kitchen", "rpi5", "other"))
    assert registry.get(tmp_path, "kitchen") == KITCHEN
    registry.add(tmp_path, Device("kitchen", "rpi5", "other"), replace=True)
    assert registry.get(tmp_path, "kitchen").host == "other"


def test_an_unknown_name_shows_the_nearest(tmp_path: Path) -> None:
    registry.add(tmp_path, KITCHEN)
    with pytest.raises(UsageError, match="no such device") as caught:
        registry.get(tmp_path, "kitchn")
    assert "'kitchen'" in str(caught.value.remedy)
    with pytest.raises(UsageError):
        registry.remove(tmp_path, "kitchn")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", ".x", "-x", "a b", "x" * 64, "ü"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a device name"):
        registry.add(tmp_path, Device(name, "rpi4", "h"))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "kitchen.json").write_text('{"name": "kitchen"')
    with pytest.raises(SpecError) as caught:
        registry.list_devices(tmp_path)
    assert "kitchen.json" in str(caught.value)


@given(st.text(max_size=80))
def test_any_name_is_kept_inside_the_folder_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("registry")
    try:
        file = registry.add(folder, Device(name, "rpi4", "h"))
    except UsageError:
        assert list(folder.iterdir()) == []
    else:
        assert file.parent == folder
        assert registry.get(folder, name).name == name
