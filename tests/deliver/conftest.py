"""A real sshd on 127.0.0.1 for the transport."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sshd_kit import SFTP_SERVERS, SSHD, Forwarder, Server, free_port, key, wait_for

from edgekit.spec.device import Device


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None:
        pytest.skip("openssh-server is not installed")
    sftp = next(one for one in SFTP_SERVERS if Path(one).is_file())
    folder = tmp_path_factory.mktemp("sshd")
    host_key = key(folder / "host")
    client = key(folder / "client")
    (folder / "authorized").write_text(client + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    (folder / "sshd.conf").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin yes\nPidFile none\nMaxStartups 50\nSubsystem sftp {sftp}\n"
    )
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd.conf")], stderr=log)
    try:
        wait_for(port, process, folder / "sshd.log")
        device = Device(
            "local", "rpi4", "127.0.0.1", port, getpass.getuser(), host_key=host_key, key_file=str(folder / "client")
        )
        yield Server(port, device, folder)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def forward(server: Server) -> Iterator[Callable[[int | None], tuple[Forwarder, Device]]]:
    """``forward(limit)``: a forwarder to the sshd, and the device behind it."""
    made: list[Forwarder] = []

    def make(limit: int | None = None) -> tuple[Forwarder, Device]:
        one = Forwarder(server.port, limit)
        made.append(one)
        return one, replace(server.device, port=one.port)

    yield make
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads this user's SSH configuration, keys or agent."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home
