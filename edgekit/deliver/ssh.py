"""The transport to a board: one SSH connection, one channel a program, SFTP for files."""

from __future__ import annotations

import contextlib
import posixpath
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import paramiko

from edgekit.deliver import connection, hostkeys
from edgekit.deliver.connection import translated
from edgekit.deliver.route import read_config, to_device
from edgekit.deliver.transport import Tail
from edgekit.errors import DeviceError, TransportError
from edgekit.spec.device import Device
from edgekit.spec.progress import Report, quiet

# OpenSSH's sftp-server takes at most 32 KiB a packet from paramiko, which splits larger writes itself
CHUNK = 1 << 15
REPORT_EVERY = 1 << 18


class SshProcess:
    """A program behind one SSH channel; see :class:`edgekit.deliver.transport.Process`."""

    def __init__(self, channel: paramiko.Channel, command: str, address: str) -> None:
        self._channel = channel
        self._address = address
        self._buffer = bytearray()
        with translated(address):
            channel.exec_command(command)
        self._tail = Tail(channel.recv_stderr)

    def write(self, data: bytes) -> None:
        with translated(self._address):
            self._channel.settimeout(None)
            self._channel.sendall(data)

    def readline(self, timeout: float | None = None) -> bytes:
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._buffer:
            self._channel.settimeout(None if deadline is None else max(0.001, deadline - time.monotonic()))
            data = self._channel.recv(1 << 16)
            if not data:
                line, self._buffer = bytes(self._buffer), bytearray()
                return line
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line + b"\n"

    def wait(self, timeout: float) -> int | None:
        if not self._channel.status_event.wait(timeout) or self._channel.exit_status < 0:
            return None
        return self._channel.exit_status

    def stderr_tail(self) -> str:
        return self._tail.text()

    def close(self) -> None:
        # telling a connection that is gone that we go would hide why it went
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
            self._channel.close()


class SshTransport:
    """See :class:`edgekit.deliver.transport.Transport`."""

    def __init__(self, client: paramiko.Transport, address: str, python: str = "python3") -> None:
        self.python = python
        self.address = address
        self._client = client
        self._files: paramiko.SFTPClient | None = None

    def start(self, argv: Sequence[str]) -> SshProcess:
        with translated(self.address):
            return SshProcess(self._client.open_session(timeout=connection.BANNER_S), shlex.join(argv), self.address)

    def put(self, local: Path, remote: str, offset: int = 0, report: Report = quiet) -> None:
        total = local.stat().st_size
        with translated(self.address), local.open("rb") as source:
            source.seek(offset)
            done, told = offset, offset
            try:
                with self._sftp().open(remote, "r+b" if offset else "wb") as sink:
                    sink.seek(offset)
                    while chunk := source.read(CHUNK):
                        done += len(chunk)
                        # else each write waits for a round trip; the last one does, for all of them:
                        # closing alone would lose a failure
                        sink.set_pipelined(done < total)
                        sink.write(chunk)
                        if done - told >= REPORT_EVERY:
                            told = done
                            report(local.name, done / total)
            except OSError as error:
                if not self._client.is_active():
                    raise
                raise DeviceError(
                    f"the device cannot write {remote}: {error}",
                    where=self.address,
                    remedy="check its free space (df -h) and whether the folder is yours",
                ) from error
        report(local.name, 1.0)

    def size(self, remote: str) -> int | None:
        with translated(self.address):
            try:
                return self._sftp().stat(remote).st_size
            except FileNotFoundError:
                return None

    def rename(self, remote: str, to: str) -> None:
        with translated(self.address):
            self._sftp().posix_rename(remote, to)

    def mkdir(self, remote: str) -> None:
        with translated(self.address):
            missing = []
            while remote not in ("", "/") and self.size(remote) is None:
                missing.append(remote)
                remote = posixpath.dirname(remote)
            for folder in reversed(missing):
                self._sftp().mkdir(folder)

    def home(self) -> str:
        with translated(self.address):
            return self._sftp().normalize(".")

    def close(self) -> None:
        connection.close(self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sftp(self) -> paramiko.SFTPClient:
        if self._files is None:
            files = self._client.open_sftp_client()
            if files is None:
                raise TransportError("the server refuses file transfer (SFTP)", where=self.address, remedy=_SFTP_REMEDY)
            self._files = files
        return self._files


_SFTP_REMEDY = "install openssh-sftp-server there, or enable 'Subsystem sftp' in its sshd_config"


def connect(device: Device) -> SshTransport:
    """Connect to a registered device. Where no key is pinned, the server must be in known_hosts.

    Raises HostKeyError for another host key, TransportError for all else that fails.
    """
    route = to_device(device, read_config())
    pinned = device.host_key is not None
    if device.host_key is not None:
        expected: tuple[str, ...] = (device.host_key,)
    else:
        expected = hostkeys.known(device.host, device.port) + hostkeys.known(route.host, route.port)
    client = connection.open_route(route, expected, pinned=pinned, own_key_only=device.emulated is not None)
    return SshTransport(client, f"{device.name} ({route.text})")
