"""How the host reaches a device: start a program there, put a file there. Nothing else is needed.

Two full implementations: ``ssh.SshTransport`` for boards and ``local.LocalTransport`` for this machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

from edgekit.spec.progress import Report, quiet

TAIL_BYTES = 8192


class Process(Protocol):
    """One running program and its three streams."""

    def write(self, data: bytes) -> None:
        """Write all of ``data`` to its stdin. Raises TransportError when nobody reads any more."""

    def readline(self, timeout: float | None = None) -> bytes:
        """The next line of its stdout with the line feed; ``b""`` at the end of the stream.

        Raises TimeoutError when no whole line came within ``timeout`` seconds.
        """

    def wait(self, timeout: float) -> int | None:
        """Its exit status; ``None`` where it has none after ``timeout`` seconds (still running, or cut off)."""

    def stderr_tail(self) -> str:
        """The last few kilobytes it wrote to stderr."""

    def close(self) -> None:
        """Close its stdin and let go of it; a program that goes on regardless is ended."""


class Transport(Protocol):
    """A connection to a device. ``python`` starts its interpreter, ``address`` names it in messages."""

    python: str
    address: str

    def start(self, argv: Sequence[str]) -> Process:
        """Start a program."""

    def put(self, local: Path, remote: str, offset: int = 0, report: Report = quiet) -> None:
        """Write ``local`` from byte ``offset`` on to ``remote``, whose first ``offset`` bytes are there already.

        ``report`` is called with the fraction of the whole file. Raises TransportError.
        """

    def size(self, remote: str) -> int | None:
        """Bytes of a remote file, ``None`` where there is none."""

    def rename(self, remote: str, to: str) -> None:
        """Move a remote file over ``to``, atomically."""

    def mkdir(self, remote: str) -> None:
        """Make a folder and its parents; no error where it exists."""

    def home(self) -> str:
        """The absolute path of the home folder there."""

    def close(self) -> None:
        """Close the connection and everything started over it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Tail:
    """Drains a stream in a thread and keeps its end, so that a talkative program never blocks on a full pipe."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._drain, name="edgekit-stderr", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while True:
            try:
                data = self._read(4096)
            except (OSError, ValueError):
                return
            if not data:
                return
            with self._lock:
                self._kept += data
                del self._kept[:-TAIL_BYTES]

    def text(self) -> str:
        """What is there; waits a moment for the stream's end, which comes with the program's."""
        self._thread.join(0.5)
        with self._lock:
            return bytes(self._kept).decode("utf-8", "replace").strip()
