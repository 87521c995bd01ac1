"""The transport to this machine: the same agent, the same protocol, through a subprocess."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self, cast

from edgekit.deliver.transport import Tail
from edgekit.errors import TransportError
from edgekit.spec.progress import Report, quiet

CHUNK = 1 << 20
GRACE_S = 5.0


class LocalProcess:
    """A child process; see :class:`edgekit.deliver.transport.Process`."""

    def __init__(self, argv: Sequence[str], cwd: Path) -> None:
        try:
            self._child = subprocess.Popen(
                list(argv), cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise TransportError(f"cannot start {argv[0]!r}: {error.strerror}", given=argv[0]) from error
        pipes = (self._child.stdin, self._child.stdout, self._child.stderr)
        self._stdin, self._stdout, self._stderr = (cast(io.FileIO, one) for one in pipes)
        self._buffer = bytearray()
        self._tail = Tail(lambda size: self._stderr.read(size) or b"")

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._stdin.write(view) :]
        except (OSError, ValueError) as error:
            raise TransportError("the program on this machine stopped reading") from error

    def readline(self, timeout: float | None = None) -> bytes:
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._buffer:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._stdout], [], [], left)[0]:
                raise TimeoutError
            data = os.read(self._stdout.fileno(), 1 << 16)
            if not data:
                line, self._buffer = bytes(self._buffer), bytearray()
                return line
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line + b"\n"

    def wait(self, timeout: float) -> int | None:
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stderr_tail(self) -> str:
        return self._tail.text()

    def close(self) -> None:
        if not self._stdin.closed:
            self._stdin.close()
        if self.wait(GRACE_S) is None:
            self._child.kill()
            self._child.wait()
        self._stdout.close()
        self._tail.text()
        self._stderr.close()


class LocalTransport:
    """This machine as a device. ``root`` stands for the home folder there, ``python`` is the interpreter to run."""

    def __init__(self, root: Path, python: str = sys.executable) -> None:
        self.python = python
        self.address = "this machine"
        self._root = root.absolute()
        self._root.mkdir(parents=True, exist_ok=True)
        self._started: list[LocalProcess] = []

    def start(self, argv: Sequence[str]) -> LocalProcess:
        process = LocalProcess(argv, self._root)
        self._started.append(process)
        return process

    def put(self, local: Path, remote: str, offset: int = 0, report: Report = quiet) -> None:
        total = local.stat().st_size
        try:
            with local.open("rb") as source, open(remote, "r+b" if offset else "wb") as sink:
                source.seek(offset)
                sink.seek(offset)
                while chunk := source.read(CHUNK):
                    sink.write(chunk)
                    report(local.name, sink.tell() / max(total, 1))
        except OSError as error:
            raise TransportError(f"cannot write {remote}: {error.strerror}", where=self.address) from error

    def size(self, remote: str) -> int | None:
        try:
            return os.stat(remote).st_size
        except FileNotFoundError:
            return None

    def rename(self, remote: str, to: str) -> None:
        os.replace(remote, to)

    def mkdir(self, remote: str) -> None:
        try:
            os.makedirs(remote, exist_ok=True)
        except OSError as error:
            raise TransportError(f"cannot make {remote}: {error.strerror}", where=self.address) from error

    def home(self) -> str:
        return str(self._root)

    def close(self) -> None:
        while self._started:
            self._started.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
