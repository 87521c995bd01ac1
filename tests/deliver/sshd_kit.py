"""Keys, ports and a TCP forwarder that can be cut, for the tests against a real sshd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgekit.spec.device import Device

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")


@dataclass(frozen=True)
class Server:
    """A running sshd; ``start`` lets it go and come back on the same port with another host key."""

    port: int
    device: Device
    folder: Path


def key(file: Path, kind: str = "ed25519") -> str:
    """Make a key pair and return the public line ``type base64``."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(file)], check=True)
    return " ".join(file.with_name(file.name + ".pub").read_text().split()[:2])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            pytest.fail(f"sshd did not start: {log.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("sshd does not listen")


@dataclass
class Forwarder:
    """A TCP forwarder that can be cut: after ``limit`` bytes towards the server, or at once by ``cut()``."""

    to: int
    limit: int | None = None
    port: int = 0
    _sockets: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self.to))
            self._sockets += [here, there]
            threading.Thread(target=self._pump, args=(here, there, self.limit), daemon=True).start()
            threading.Thread(target=self._pump, args=(there, here, None), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
                passed += len(data)
                if limit is not None and passed >= limit:
                    self.cut()
                    return
        except OSError:
            return
        with_suppressed(lambda: sink.shutdown(socket.SHUT_WR))

    def cut(self) -> None:
        for one in self._sockets:
            with_suppressed(lambda one=one: one.shutdown(socket.SHUT_RDWR))  # type: ignore[misc]
            one.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()


def with_suppressed(action: Callable[[], object]) -> None:
    try:
        action()
    except OSError:
        return
