"""The host's end of the protocol: ship the agent, start it, ask it; see ``edgekit.spec.wire``."""

from __future__ import annotations

import hashlib
import posixpath
import time
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

from edgekit.deliver.agent_file import TOO_OLD
from edgekit.deliver.transport import Process, Transport
from edgekit.errors import PreflightError, ProtocolError, SpecError, TransportError, from_json
from edgekit.spec import codec, wire
from edgekit.spec.progress import Report, quiet

T = TypeVar("T")
#: Below the home folder; the agent's own default root.
ROOT = ".local/share/edgekit"
HELLO_S = 120.0
_NOT_FOUND = (126, 127)
_DESCRIBE = 'echo "$(. /etc/os-release 2>/dev/null; echo "${PRETTY_NAME:-unknown system}"), $(uname -m)"'


class Agent:
    """A running agent. ``hello`` is how it presented itself: its root on the device, what its start put right.

    Raises PreflightError where the device has no fit Python, ProtocolError where something else answers,
    TransportError where the connection fails. The transport stays the caller's to close.
    """

    def __init__(self, transport: Transport, agent_file: Path, root: str | None = None) -> None:
        self.transport = transport
        self._last = 0
        base = root if root is not None else posixpath.join(transport.home(), ROOT)
        self.file = _ship(transport, agent_file, base)
        # without a root of ours the agent chooses: $EDGEKIT_ROOT there, or its default
        argv = [transport.python, self.file, *(["--root", root] if root is not None else [])]
        self._process: Process = transport.start(argv)
        try:
            self.hello = self.call("hello", wire.Hello(wire.PROTOCOL, time.time()), wire.HelloReply, timeout=HELLO_S)
            if self.hello.protocol != wire.PROTOCOL:
                raise ProtocolError(
                    "the agent speaks another protocol",
                    where=transport.address,
                    given=self.hello.protocol,
                    allowed=wire.PROTOCOL,
                )
        except BaseException:
            self.close()
            raise

    def call(self, op: str, args: Any, reply: type[T], report: Report = quiet, timeout: float | None = None) -> T:
        """Ask for ``op`` and wait for its answer, a ``reply``; ``report`` hears its progress.

        ``timeout`` in seconds bounds the silence between two lines, not the whole. A failure on the device is raised as
        the error it was there.
        """
        self._last += 1
        request = wire.Request(self._last, op, codec.encode(args) if args is not None else {})
        try:
            self._process.write(codec.dumps(request).encode() + b"\n")
        except TransportError:
            # it is gone: what it said before it went tells more than a broken pipe
            self._gone(op)
        while True:
            answer = self._read(op, timeout)
            if answer.id != request.id:
                raise ProtocolError(
                    "an answer to another question", where=self._where, given=answer.id, allowed=request.id
                )
            if answer.kind == "progress":
                report(answer.message, answer.fraction)
            elif answer.kind == "failed":
                raise from_json(answer.error or {}, self._where)
            else:
                return self._decode(reply, answer.result or {}, op)

    def close(self) -> None:
        """End the agent; what it was doing is recovered at its next start."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _where(self) -> str:
        return self.transport.address

    def _read(self, op: str, timeout: float | None) -> wire.Reply:
        try:
            line = self._process.readline(timeout)
        except TimeoutError:
            raise TransportError(
                f"no sign of life during '{op}' for {timeout:.0f} s",
                where=self._where,
                remedy="see whether the device is overloaded or out of memory, then start again",
            ) from None
        if not line.endswith(b"\n"):
            self._gone(op)
        try:
            return codec.loads(wire.Reply, line)
        except SpecError as error:
            raise ProtocolError(
                "something else than the agent's protocol arrives",
                where=self._where,
                given=line[:200].decode("utf-8", "replace").rstrip(),
                remedy="if a login script there prints this, keep it quiet for non-interactive shells; "
                "if not, update edgekit on this host",
            ) from error

    def _decode(self, reply: type[T], result: dict[str, Any], op: str) -> T:
        try:
            return codec.decode(reply, result)
        except SpecError as error:
            raise ProtocolError(f"the answer to '{op}' does not fit: {error}", where=self._where) from error

    def _gone(self, op: str) -> NoReturn:
        """The stream ended in mid-call: say why, as far as can be told."""
        status = self._process.wait(5.0)
        said = self._process.stderr_tail()
        if op == "hello" and status == TOO_OLD:
            raise PreflightError(
                "the device's Python is too old", where=self._where, given=said, allowed="python 3.9 or newer"
            )
        if op == "hello" and status in _NOT_FOUND:
            raise PreflightError(
                f"the device cannot start {self.transport.python}",
                where=self._where,
                given=f"{said} (on {_describe(self.transport)})",
                allowed="python 3.9 or newer",
                remedy="install python3 there, with its package manager",
            )
        if status is None:
            message, remedy = f"the connection was cut during '{op}'", "start again: what arrived is kept"
        else:
            message, remedy = f"the agent ended during '{op}' with status {status}", "see 'edgekit logs'"
        raise TransportError(message, where=self._where, given=said or None, remedy=remedy)


def _ship(transport: Transport, agent_file: Path, base: str) -> str:
    """Put the agent on the device unless it is there whole: a power cut may leave the right size with other bytes."""
    folder = posixpath.join(base, "agents")
    remote = posixpath.join(folder, agent_file.name)
    wanted = hashlib.sha256(agent_file.read_bytes()).hexdigest()
    if transport.size(remote) == agent_file.stat().st_size and _sha256(transport, remote) == wanted:
        return remote
    transport.mkdir(folder)
    temporary = f"{remote}.{time.time_ns():x}.part"
    transport.put(agent_file, temporary)
    arrived = _sha256(transport, temporary)
    if arrived != wanted:
        raise TransportError(
            "the agent did not arrive whole",
            where=transport.address,
            given=f"sha256 {arrived or 'unknown: sha256sum gave none'}",
            allowed=f"sha256 {wanted}",
            remedy="see whether its disk is full or failing (and has sha256sum, of coreutils or busybox)",
        )
    transport.rename(temporary, remote)
    return remote


def _sha256(transport: Transport, remote: str) -> str:
    """The hash of a remote file, told by the device itself; ``""`` where it has none to tell."""
    process = transport.start(["sha256sum", remote])
    try:
        return process.readline(HELLO_S).decode("ascii", "replace").partition(" ")[0]
    except TimeoutError:
        return ""
    finally:
        process.close()


def _describe(transport: Transport) -> str:
    """System and machine, told by a shell, where no agent can run."""
    try:
        process = transport.start(["sh", "-c", _DESCRIBE])
        try:
            return process.readline(30.0).decode("utf-8", "replace").strip() or "an unknown system"
        finally:
            process.close()
    except (TransportError, TimeoutError):
        return "an unknown system"
