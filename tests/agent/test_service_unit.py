"""The systemd unit: what is written, and what systemd is told. ``systemctl`` is a recorded stand-in: a real manager
belongs to the machine."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from service_kit import OLD_MODEL, Serving, deploy

from edgekit.agent.service import unit
from edgekit.errors import DeviceError, UsageError
from edgekit.spec.service import Manage, Options

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``systemctl`` that writes down its words and says ``active``; the file it writes to."""
    folder = tmp_path / "bin"
    folder.mkdir()
    said = tmp_path / "said"
    program = folder / "systemctl"
    broken = f"[ ! -e {tmp_path}/broken ] || {{ echo no bus >&2; exit 1; }}"
    program.write_text(f'#!/bin/sh\necho "$@" >> {said}\n{broken}\necho active\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(unit, "BOOTED", tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return said


def manager(folder: Path, system: bool) -> unit.Manager:
    made = unit.Manager(system)
    made.folder = folder / "units"
    return made


@pytest.mark.parametrize("system", [True, False], ids=["system", "user"])
def test_the_service_is_installed_shown_and_removed(root: Path, tmp_path: Path, systemctl: Path, system: bool) -> None:
    systemd = manager(tmp_path, system)
    assert unit.state(root, systemd) is None
    unit.install(root, Manage("install", Options(listen="127.0.0.1:8765"), 300 << 20), systemd)
    text = systemd.unit.read_text()
    assert "--listen=127.0.0.1:8765" in text
    assert f"MemoryMax={300 << 20}" in text
    assert ("ProtectSystem=strict" in text) is system
    assert ("User=" in text) is system
    assert "NoNewPrivileges=yes" in text
    assert "Restart=on-failure" in text
    assert stat.S_IMODE(systemd.unit.stat().st_mode) == 0o644
    scope = "" if system else "--user "
    words = ["daemon-reload", "enable edgekit.service", "restart edgekit.service"]
    assert systemctl.read_text().splitlines() == [f"{scope}--no-pager {one}" for one in words]
    now = unit.state(root, systemd)
    assert now is not None
    assert (now.active, now.scope, now.listen) == ("active", "system" if system else "user", "127.0.0.1:8765")
    assert (now.socket, now.answering) == (str(root / "service.sock"), None)
    assert bool(now.notes) is not system
    unit.remove(root, systemd)
    assert unit.state(root, systemd) is None
    assert "disable --now edgekit.service" in systemctl.read_text()
    unit.remove(root, systemd)


def test_a_token_is_kept_where_only_its_user_may_read(root: Path, tmp_path: Path, systemctl: Path) -> None:
    systemd = manager(tmp_path, True)
    unit.install(root, Manage("install", Options(listen="0.0.0.0:8765"), token=TOKEN), systemd)
    file = root / unit.TOKEN
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == TOKEN + "\n"
    assert TOKEN not in systemd.unit.read_text()
    assert TOKEN not in (root / "log.jsonl").read_text()
    assert f"--token-file={file}" in systemd.unit.read_text()
    # the next one has none: it goes
    unit.install(root, Manage("install"), systemd)
    assert not file.exists()


def test_what_systemd_refuses_is_said(root: Path, tmp_path: Path, systemctl: Path) -> None:
    (tmp_path / "broken").write_text("")
    with pytest.raises(DeviceError, match="systemd refuses: no bus"):
        unit.install(root, Manage("install"), manager(tmp_path, False))


def test_an_address_for_all_needs_a_token(root: Path, tmp_path: Path, systemctl: Path) -> None:
    systemd = manager(tmp_path, True)
    with pytest.raises(UsageError, match="needs a token"):
        unit.install(root, Manage("install", Options(listen="0.0.0.0:8765")), systemd)
    with pytest.raises(UsageError, match="not a token"):
        unit.install(root, Manage("install", Options(listen="0.0.0.0:8765"), token="short"), systemd)
    assert not systemd.unit.exists()


def test_without_systemd_it_says_how_to_start_it(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(unit, "BOOTED", tmp_path / "nowhere")
    with pytest.raises(DeviceError, match="no systemd") as caught:
        unit.check(root, Manage("check"), manager(tmp_path, True))
    assert f"--root {root} serve" in str(caught.value.remedy)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("user", ["root", None], ids=["system", "user"])
def test_systemd_understands_the_unit(tmp_path: Path, user: str | None) -> None:
    program = tmp_path / "a 'strange' $folder 50%/agent.pyz"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = tmp_path / "edgekit.service"
    file.write_text(unit.render(tmp_path, ["/bin/sh", str(program), "--root", str(tmp_path), "serve"], 1 << 28, user))
    words = ["systemd-analyze", "verify", "--man=no", *([] if user else ["--user"]), str(file)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    ran = subprocess.run(words, capture_output=True, text=True, env=environment)
    complaints = [one for one in ran.stderr.splitlines() if "edgekit.service" in one]
    assert complaints == []
    file.write_text(file.read_text() + "Nonsense=1\n")
    ran = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert "Nonsense" in ran.stderr, "it was not read at all"


def test_a_line_cannot_be_added_through_a_path() -> None:
    with pytest.raises(UsageError, match="not for a unit file"):
        unit.render(Path("/x"), ["a\nExecStart=/bin/evil"], 0, None)


def test_status_tells_what_the_service_answers(root: Path, tmp_path: Path, systemctl: Path) -> None:
    pytest.importorskip("tokenizers")
    release = deploy(root, OLD_MODEL)
    systemd = manager(tmp_path, True)
    unit.install(root, Manage("install"), systemd)
    with Serving(root) as serving:
        serving.ask("chess")
        serving.ask("chess")
        now = unit.state(root, systemd)
    assert now is not None
    assert now.answering is not None
    assert (now.answering.ok, now.answering.release) == (True, release)
    assert (now.answering.hits, now.answering.misses) == (1, 1)
    assert json.loads((root / unit.OPTIONS).read_text())["queue"] == 512
