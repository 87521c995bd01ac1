"""What a host keeps of its boards, their targets and whom it trusts: real files in a home of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgekit import load, pipeline
from edgekit.deliver import connection, registry
from edgekit.errors import SpecError, UsageError
from edgekit.fieldwork import Board, choose
from edgekit.home import Home
from edgekit.spec.device import Device, Emulated

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKGmo0S2z3xGmYr5Yk4wrgwnC2b8mE3Gg9d9BBRvR4h"
REAL = Device("kitchen", "rpi4", "pi4", 2222, "pi", host_key=KEY)
EMULATED = Device("fake", "rpi4", "127.0.0.1", 40022, host_key=KEY, emulated=Emulated("/x", 7, "wall"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def own_target(folder: Path, name: str = "mine", file: str = "mine.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = load.files.find("targets", "rpi4").read_text()
    assert "name: rpi4\n" in text
    (folder / file).write_text(text.replace("name: rpi4\n", f"name: {name}\n", 1))
    return folder / file


def settled(argv: tuple[str, ...]) -> dict[str, str]:
    """What ssh itself makes of a command line."""
    said = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in said.splitlines() if " " in line)


def test_a_shell_looks_for_the_pinned_key_under_the_devices_own_name(home: Home) -> None:
    registry.add(home.devices, REAL)
    found = settled(pipeline.device_ssh("kitchen", home=home))
    assert found["hostkeyalias"] == "kitchen"
    assert found["stricthostkeychecking"] in ("true", "yes")
    assert (found["user"], found["port"]) == ("pi", "2222")
    assert Path(found["userknownhostsfile"]).read_text() == f"kitchen {KEY}\n"


def test_only_a_real_board_is_reached_by_the_users_config(home: Home) -> None:
    for one in (REAL, EMULATED):
        registry.add(home.devices, one)
    assert "-F" not in pipeline.device_ssh("kitchen", home=home)
    argv = pipeline.device_ssh("fake", home=home)
    assert argv[argv.index("-F") + 1] == "none"
    assert settled(argv)["hostkeyalias"] == "fake"


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that shows its key to whoever asks."""
    monkeypatch.setattr(connection, "host_key_of", lambda route: KEY)


def test_a_device_keeps_the_name_of_its_target(home: Home, answering: None) -> None:
    file = own_target(home.targets)
    added = pipeline.device_add("attic", "pi@192.0.2.7", target=str(file), confirm=lambda _: True, home=home)
    assert added.target == "mine"
    assert choose(home, target="mine") == added
    assert choose(home, target=str(file)) == added
    assert Board(home, added).target.name == "mine"


def test_a_target_that_would_not_be_found_again_is_refused(home: Home, answering: None, tmp_path: Path) -> None:
    file = own_target(tmp_path / "elsewhere", file="other.yaml")
    for begin in (
        lambda: pipeline.device_add("attic", "pi@192.0.2.7", target=str(file), confirm=lambda _: True, home=home),
        lambda: pipeline.device_up(str(file), home=home),
    ):
        with pytest.raises(UsageError, match="among the known ones") as caught:
            begin()
        assert str(home.targets / "mine.yaml") in str(caught.value.remedy)
    assert registry.list_devices(home.devices) == ()


def test_a_target_that_takes_a_known_name_is_refused(home: Home, answering: None, tmp_path: Path) -> None:
    file = own_target(tmp_path / "elsewhere", name="rpi5")
    with pytest.raises(UsageError, match="another known target"):
        pipeline.device_add("attic", "pi@192.0.2.7", target=str(file), confirm=lambda _: True, home=home)


def test_a_homes_own_targets_and_recipes_are_known(home: Home) -> None:
    own_target(home.targets)
    file, _ = load.recipes()[0]
    home.recipes.mkdir()
    (home.recipes / "own.yaml").write_text(file.read_text())
    assert "mine" in [one.name for one in pipeline.targets(home=home)]
    assert home.recipes / "own.yaml" in [one for one, _ in pipeline.recipes(home=home)]
    with pytest.raises(UsageError, match="no device of target mine"):
        pipeline.build("own", target="mine", home=home)
    with pytest.raises(SpecError, match="unknown recipe"):
        pipeline.build("own", target="mine", home=Home(home.root / "other"))


def test_a_makers_key_is_trusted_by_one_call(home: Home, tmp_path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "maker", "-f", str(tmp_path / "key")]
    subprocess.run(command, check=True)
    fingerprint = pipeline.bundle_trust(tmp_path / "key.pub", home=home)
    told = subprocess.run(["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True)
    assert fingerprint == told.stdout.split()[1]
    assert (tmp_path / "key.pub").read_text().split()[1] in (home.keys / "trusted").read_text()
    with pytest.raises(UsageError, match="not an OpenSSH public key"):
        pipeline.bundle_trust(tmp_path / "key", home=home)


def test_a_removed_board_is_forgotten_and_its_disk_is_gone(home: Home) -> None:
    folder = home.boards / "fake"
    folder.mkdir()
    (folder / "overlay.qcow2").write_bytes(b"disk")
    registry.add(home.devices, Device("fake", "rpi4", "127.0.0.1", 40022, emulated=Emulated(str(folder), 7, "wall")))
    assert pipeline.device_remove("fake", home=home) == "fake"
    assert pipeline.device_list(home=home) == ()
    assert not folder.exists()


def test_a_disk_that_nobody_is_registered_for_can_be_removed(home: Home) -> None:
    (home.boards / "rpi4-demo").mkdir()
    pipeline.device_remove("rpi4-demo", home=home)
    assert not (home.boards / "rpi4-demo").exists()
    with pytest.raises(UsageError, match="no such device"):
        pipeline.device_remove("rpi4-demo", home=home)
    with pytest.raises(UsageError, match="not a device name"):
        pipeline.device_remove("../devices", home=home)
