"""What a sweep found is kept for boards of its own kind alone. On a board: ``tests/emulated/test_road.py``."""

from __future__ import annotations

from pathlib import Path

from edgekit import tuning
from edgekit.home import Home
from edgekit.spec import codec
from edgekit.spec.device import Device, Emulated
from edgekit.spec.manifest import Artifact, Blob
from edgekit.spec.setting import Setting, Tried, Tuning

BLOB = Blob("a" * 64, 9)
ARTIFACT = Artifact("x", "optimized", "tflite", "w8_a8_static", BLOB, BLOB, ())
REAL = Device("roof-1", "rpi4", "192.0.2.17")
EMULATED = Device("rpi4", "rpi4", "127.0.0.1", emulated=Emulated("/board", 7, "counted"))


def test_an_emulated_boards_sweep_says_nothing_of_a_real_board(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for device, threads in ((EMULATED, 1), (REAL, 4)):
        assert tuning.kept(home, device, ARTIFACT) is None
        tried = (Tried(Setting(threads), 1.0),)
        emulated = device.emulated is not None
        found = Tuning("rpi4", BLOB.sha256, device.name, emulated, 64, 3, tried, Setting(threads))
        tuning.keep(home, device, ARTIFACT, found)
        assert tuning.kept(home, device, ARTIFACT) == Setting(threads)
    assert tuning.kept(home, EMULATED, ARTIFACT) == Setting(1)
    other = Device("roof-2", "rpi5", "192.0.2.18")
    assert tuning.kept(home, other, ARTIFACT) is None
    assert {codec.loads(Tuning, one.read_text()).emulated for one in home.tunings.iterdir()} == {True, False}
