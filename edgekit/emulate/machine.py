"""Emulated devices: each a folder with its own disk, keys and state, and a QEMU process while it is up.

The process is detached: it goes on when the command line that started it has ended. ``state.json`` names it together
with its start time, so that no other process that later gets its number is ever taken for it. The disk keeps what the
board wrote over any number of downs and ups.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgekit.emulate import initrd, keys, qemu, ready, tools
from edgekit.emulate.image import Image
from edgekit.errors import DeviceError, EdgekitError, TransportError, UsageError
from edgekit.spec import codec
from edgekit.spec.device import Clock
from edgekit.spec.progress import Report, quiet
from edgekit.spec.target import Target

USER = "pi"
STATE = "state.json"
BOOT_TIMEOUT_S = 300.0
GREETING_TIMEOUT_S = 15.0
PORT_ATTEMPTS = 5


@dataclass(frozen=True)
class Running:
    """A board that takes SSH on 127.0.0.1. ``host_key`` is the line ``type base64`` its server shows."""

    pid: int
    port: int
    host_key: str
    user: str
    key_file: Path


@dataclass(frozen=True)
class State:
    """``dead`` is a board that was not taken down yet whose process is gone. ``pid`` only while running."""

    status: Literal["running", "stopped", "dead"]
    port: int | None = None
    clock: Clock | None = None
    pid: int | None = None


@dataclass(frozen=True)
class Record:
    """What ``state.json`` holds. ``image`` is the folder of the image the device's disk stands on."""

    image: str
    port: int
    clock: Clock
    process: qemu.Process | None = None


def up(target: Target, image: Image, folder: Path, *, clock: Clock, report: Report = quiet) -> Running:
    """Start the device in ``folder``, which is made where it is new, and return once it ran a first SSH command.

    A device that is up already with this clock is returned as it is. It keeps its disk, keys and, while free, port.
    Raises UsageError where programs are missing, it runs with another clock, or its disk's image is gone; DeviceError
    with the end of the console where it does not come up; then nothing is left running.
    """
    tools.require([qemu.BINARY[target.cpu.arch], "qemu-img", "ssh-keygen"])
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        record = _read(folder)
        if record and record.process and qemu.alive(record.process):
            if record.clock != clock:
                raise UsageError(
                    "the device runs with another clock", given=clock, allowed=record.clock, remedy="take it down first"
                )
            return _running(folder, record)
        image = _base(image, record, folder, report)
        host_key, authorized = keys.ensure(folder / keys.HOST_KEY), keys.ensure(folder / keys.CLIENT_KEY)
        shared = image.initrd.read_bytes()
        (folder / qemu.INITRD).write_bytes(
            shared + initrd.keys((folder / keys.HOST_KEY).read_bytes(), authorized.encode())
        )
        (folder / qemu.INITRD).chmod(0o600)
        record = _start(target, image, folder, clock, record.port if record else None)
        report("started, waiting for the system", 0.2)
        process = record.process
        assert process is not None
        try:
            _write(folder, record)
            ready.wait(
                port=record.port,
                user=USER,
                host_key=host_key,
                key_file=folder / keys.CLIENT_KEY,
                console=folder / qemu.CONSOLE,
                check=_check(process),
                timeout_s=BOOT_TIMEOUT_S,
            )
        except BaseException as error:
            qemu.kill(process)
            _write(folder, replace(record, process=None))
            if isinstance(error, EdgekitError):
                raise DeviceError(
                    f"the emulated board did not come up: {error.message}",
                    given="the end of its console:\n" + console_tail(folder),
                    where=str(folder),
                ) from error
            raise
        report("ready", 1.0)
        return _running(folder, record)


def down(folder: Path) -> None:
    """Stop the device after it wrote its disk; nothing happens where it is not up."""
    with _locked(folder):
        record = _read(folder)
        if record is None:
            return
        process = record.process
        if process and qemu.alive(process):
            # a board that no longer answers is stopped all the same
            with suppress(EdgekitError, OSError):
                _flush(_running(folder, record))
            with suppress(TransportError):
                qemu.monitor(folder, "quit")
            if not qemu.gone(process, 10) and not qemu.kill(process, signal.SIGTERM):
                qemu.kill(process)
        _write(folder, replace(record, process=None))


def state(folder: Path) -> State:
    """How the device stands now."""
    record = _read(folder)
    if record is None:
        return State("stopped")
    if record.process is None:
        return State("stopped", record.port, record.clock)
    if not qemu.alive(record.process):
        return State("dead", record.port, record.clock)
    return State("running", record.port, record.clock, record.process.pid)


def running(folder: Path) -> Running:
    """How to reach the device; UsageError where it is not up."""
    record = _read(folder)
    if record is None or record.process is None or not qemu.alive(record.process):
        raise UsageError("the emulated device is not running", where=str(folder), remedy="edgekit device up")
    return _running(folder, record)


def cut_power(folder: Path) -> None:
    """Take the current away in mid-work: only what the board flushed to its disk is there at the next start."""
    with _locked(folder):
        record = _read(folder)
        if record and record.process:
            qemu.kill(record.process)
            _write(folder, replace(record, process=None))


def link(folder: Path, up: bool) -> None:
    """Plug the running device's network cable in or out."""
    running(folder)
    qemu.monitor(folder, "set_link n0 {}".format("on" if up else "off"))


def console_tail(folder: Path, lines: int = 15) -> str:
    """The last lines the board wrote to its console."""
    try:
        text = (folder / qemu.CONSOLE).read_text(errors="replace")
    except FileNotFoundError:
        return "(nothing)"
    return "\n".join(text.splitlines()[-lines:]) or "(nothing)"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(target: Target, image: Image, folder: Path, clock: Clock, port: int | None) -> Record:
    """Start QEMU; another may take the port between our look and QEMU's, then the next one is tried."""
    for attempt in range(PORT_ATTEMPTS):
        chosen = port if port is not None and attempt == 0 else free_port()
        try:
            process = qemu.start(qemu.command(target, image, port=chosen, clock=clock), folder)
            return Record(str(image.folder), chosen, clock, process)
        except DeviceError as error:
            if "forwarding" not in str(error.given) or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _base(image: Image, record: Record | None, folder: Path, report: Report) -> Image:
    """The image the device's disk stands on: ``image`` for a new disk, the one it was made on for an old one."""
    if record is not None and (folder / qemu.OVERLAY).exists():
        if record.image != str(image.folder):
            report("the device keeps the older image its disk was made on", None)
        base = Path(record.image)
        if not base.exists():
            raise UsageError(
                "the image that the device's disk was made on is gone",
                given=base,
                where=str(folder),
                remedy=f"start with an empty disk: edgekit device remove {folder.name}, then edgekit device up",
            )
        return Image(base, base.name)
    part = folder / (qemu.OVERLAY + ".part")
    command = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        "file:" + str(image.disk.resolve()),
        str(part),
    ]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        raise DeviceError("no disk could be made for the device", given=result.stderr.strip(), where=str(folder))
    _write(folder, Record(str(image.folder.resolve()), record.port if record else free_port(), "wall"))
    os.replace(part, folder / qemu.OVERLAY)
    return Image(image.folder.resolve(), image.digest)


def _running(folder: Path, record: Record) -> Running:
    assert record.process is not None
    key_file = folder / keys.CLIENT_KEY
    return Running(record.process.pid, record.port, keys.ensure(folder / keys.HOST_KEY), USER, key_file)


def _flush(board: Running) -> None:
    link = ready.knock(board.port, GREETING_TIMEOUT_S)
    if link is not None:
        with ready.connect(link, user=board.user, host_key=board.host_key, key_file=board.key_file) as transport:
            ready.run(transport, "sync")


def _check(process: qemu.Process) -> Callable[[], None]:
    def check() -> None:
        if not qemu.alive(process):
            raise DeviceError("QEMU ended")

    return check


def _read(folder: Path) -> Record | None:
    try:
        return codec.loads(Record, (folder / STATE).read_bytes(), where=str(folder / STATE))
    except FileNotFoundError:
        return None


def _write(folder: Path, record: Record) -> None:
    part = folder / (STATE + ".part")
    part.write_text(codec.dumps(record))
    os.replace(part, folder / STATE)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time may start or stop a device."""
    if not folder.exists():
        yield
        return
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
