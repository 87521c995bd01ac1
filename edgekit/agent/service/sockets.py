"""Where the service listens, and who may ask: a Unix socket of its user's, and an address where one was named."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import Any, Tuple

from edgekit.errors import DeviceError, UsageError

BACKLOG = 128
SHORTEST_TOKEN = 16


def unix(path: Path) -> socket.socket:
    """A Unix socket that only its user may open. What a dead process left there is replaced. Raises DeviceError where a
    live one listens there, or the path cannot be one."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _stale(path):
            path.unlink()
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError):
            raise DeviceError(
                "cannot listen on this socket: {}".format(error.strerror or error),
                where=str(path),
                remedy=_way_out(error),
            ) from error
        raise
    return listener


def _stale(path: Path) -> bool:
    """Whether a socket is there that nobody listens on. Raises DeviceError where somebody does, or it is a file."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(kind):
        raise DeviceError("a file stands where the socket is to be", where=str(path), remedy="name another: --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(2.0)
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            return True
        except (OSError, socket.timeout):
            pass
    raise DeviceError(
        "the socket is in use: another program listens on it",
        where=str(path),
        remedy="end that one, or name another: --socket",
    )


def _way_out(error: OSError) -> str:
    if "too long" in str(error):
        return "a socket's path has 107 bytes at most: name a shorter one with --socket"
    return "see that the folder is there and yours, or name another: --socket"


def tcp(listen: str, guarded: bool) -> socket.socket:
    """A listening ``host:port``. Raises what :func:`check` does; DeviceError where it is in use."""
    family, place = check(listen, guarded)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        said = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise DeviceError(
            "cannot listen: {}".format(said), given=listen, remedy="name another address: --listen"
        ) from error
    return listener


def check(listen: str, guarded: bool) -> Tuple[int, Tuple[Any, ...]]:
    """Family and place of ``host:port``, IPv6 in brackets. Raises UsageError where it is none, or reaches beyond this
    machine and is not ``guarded`` by a token."""
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError("not an address to listen on", given=listen, allowed="HOST:PORT, IPv6 in brackets")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise UsageError("no such address: {}".format(error.strerror), given=listen, allowed="HOST:PORT") from error
    family, _, _, _, place = found[0]
    if not guarded and not ipaddress.ip_address(str(place[0]).partition("%")[0]).is_loopback:
        raise UsageError(
            "who listens beyond this machine needs a token",
            given=listen,
            allowed="127.0.0.1:PORT without one",
            remedy="name a file that holds one: --token-file FILE",
        )
    return family, place


def token(file: str) -> str:
    """The token in a file that none but its user may read. Raises UsageError; the token is in no message."""
    try:
        mode = os.stat(file).st_mode
        said = Path(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("the token cannot be read: {}".format(type(error).__name__), where=file) from None
    if mode & 0o077:
        raise UsageError(
            "others may read the token",
            where=file,
            given=oct(mode & 0o777),
            allowed="0o600",
            remedy="chmod 600 " + file,
        )
    check_token(said, file)
    return said


def check_token(said: str, where: str) -> None:
    """Raises UsageError for what no header could carry, or could be guessed."""
    if len(said) < SHORTEST_TOKEN or not said.isascii() or not said.isprintable() or " " in said:
        raise UsageError("not a token", where=where, allowed="{} or more letters and digits".format(SHORTEST_TOKEN))


def remove(path: Path, inode: int) -> None:
    """Take a Unix socket away, unless another process has put its own there."""
    with contextlib.suppress(OSError):
        if path.stat().st_ino == inode:
            path.unlink()
