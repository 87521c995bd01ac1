"""Waiting until a board that was just started takes commands over SSH."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import HostKeyError, TransportError

if TYPE_CHECKING:
    import paramiko

#: What the board writes to its console right before it starts its SSH server.
MARK = b"edgekit: starting sshd"
#: A key exchange takes seconds under emulation, and tens of seconds on a busy host.
ANSWER_TIMEOUT_S = 60

_log = logging.getLogger("edgekit.emulate.ssh")
_log.addHandler(logging.NullHandler())


def wait(
    *, port: int, user: str, host_key: str, key_file: Path, console: Path, check: Callable[[], None], timeout_s: float
) -> None:
    """Return after a first command was run on the board. ``check`` raises when waiting on is in vain.

    Raises TransportError where that takes longer than ``timeout_s``, HostKeyError where the server is another one.
    """
    end = time.monotonic() + timeout_s
    # knocking before the network is up only makes QEMU's TCP back off for seconds: the console tells
    while MARK not in _content(console):
        check()
        _until(end, "the board's system did not come up")
        time.sleep(0.1)
    while True:
        check()
        _until(end, "the board's SSH server did not answer")
        link = knock(port, max(1.0, end - time.monotonic()))
        if link is not None:
            break
        time.sleep(0.5)
    with connect(link, user=user, host_key=host_key, key_file=key_file) as transport:
        run(transport, "true")


def connect(link: socket.socket, *, user: str, host_key: str, key_file: Path) -> paramiko.Transport:
    """Log in over an open connection; the server must show exactly ``host_key`` (``type base64``)."""
    import paramiko

    transport = paramiko.Transport(link)
    # what goes wrong is raised; paramiko would print it a second time, with its own traceback
    transport.set_log_channel(_log.name)
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = ANSWER_TIMEOUT_S
    try:
        transport.start_client(timeout=ANSWER_TIMEOUT_S)
        shown = transport.get_remote_server_key()
        if f"{shown.get_name()} {shown.get_base64()}" != host_key:
            raise HostKeyError("another SSH server answers on the board's port", given=shown.fingerprint)
        transport.auth_publickey(user, paramiko.Ed25519Key.from_private_key_file(str(key_file)))
    except (paramiko.SSHException, OSError, EOFError) as error:
        transport.close()
        raise TransportError(f"cannot log in to the board: {error}") from error
    except BaseException:
        transport.close()
        raise
    return transport


def run(transport: paramiko.Transport, command: str, timeout_s: float = 60.0) -> str:
    """Standard output of a short command; TransportError where it fails."""
    import paramiko

    try:
        with transport.open_session(timeout=timeout_s) as channel:
            channel.settimeout(timeout_s)
            channel.exec_command(command)
            output = channel.makefile("rb").read()
            code = channel.recv_exit_status()
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise TransportError(f"the board did not run {command!r}: {error}") from error
    if code:
        raise TransportError(f"{command!r} failed on the board with code {code}")
    return output.decode(errors="replace")


def knock(port: int, timeout_s: float) -> socket.socket | None:
    """A connection on which the server's greeting stands ready to be read; ``None`` where none came."""
    link = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    try:
        if link.recv(4, socket.MSG_PEEK) == b"SSH-":
            return link
    except OSError:
        pass
    link.close()
    return None


def _until(end: float, message: str) -> None:
    if time.monotonic() > end:
        raise TransportError(message + " in time")


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
