"""QEMU: the command line of a board, starting it, telling its process from any other, and talking to its monitor."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from edgekit.emulate.image import Image, emulation_of
from edgekit.errors import DeviceError, TransportError
from edgekit.spec.device import Clock
from edgekit.spec.target import Target

BINARY = {"arm64": "qemu-system-aarch64", "armhf": "qemu-system-arm"}
# file names inside a device's folder; QEMU runs there, so that no path of the user's needs quoting
OVERLAY = "overlay.qcow2"
INITRD = "initrd.img"
CONSOLE = "console.log"
MONITOR = "monitor.sock"
PID = "qemu.pid"


@dataclass(frozen=True)
class Process:
    """A process that cannot be taken for another: ``started`` in clock ticks since the boot that ``boot`` names."""

    pid: int
    started: int
    boot: str


def command(target: Target, image: Image, *, port: int, clock: Clock) -> list[str]:
    """The board's command line, to be run in the device's folder.

    With ``clock`` counted the guest's time is the instructions executed times 2**3 ns, which takes a single core;
    otherwise each of the board's cores runs on a thread of its own.
    """
    emulation = emulation_of(target)
    timing = {
        "counted": ["-accel", "tcg,thread=single", "-icount", "shift=3,sleep=on", "-smp", "1"],
        "wall": ["-accel", "tcg,thread=multi", "-smp", str(target.cpu.cores)],
    }[clock]
    words = f"console=ttyAMA0 quiet panic=-1 edgekit.target={target.name} edgekit.clock={clock}"
    if clock == "counted":
        # where memory lies changes an interpreter's path by up to 1.5 %: the one thing a count would not repeat
        words += " norandmaps"
    return [
        *(BINARY[target.cpu.arch], "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-M", emulation.machine, "-cpu", emulation.cpu, "-m", str(emulation.ram_mb), *timing),
        *("-kernel", str(image.kernel), "-initrd", INITRD, "-append", words),
        # writeback honours the guest's flushes: what it fsynced survives the kill that stands for a power cut
        *(
            "-drive",
            "if=none,id=hd,format=qcow2,cache=writeback,file=" + OVERLAY,
            "-device",
            "virtio-blk-device,drive=hd",
        ),
        *("-netdev", f"user,id=n0,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-device,netdev=n0"),
        *("-serial", "file:" + CONSOLE, "-monitor", f"unix:{MONITOR},server=on,wait=off"),
        *("-daemonize", "-pidfile", PID),
    ]


def start(words: list[str], folder: Path) -> Process:
    """Run the command line detached from this process. DeviceError with QEMU's own words where it does not start."""
    for name in (MONITOR, PID, CONSOLE):
        (folder / name).unlink(missing_ok=True)
    try:
        # by now a daemon may stand behind a starter that was interrupted: its PID file tells
        result = subprocess.run(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if result.returncode:
            raise DeviceError("QEMU did not start", given=result.stderr.strip()[-500:], where=str(folder))
        return identify(int((folder / PID).read_text()))
    except BaseException:
        if (folder / PID).exists():
            kill(identify(int((folder / PID).read_text())))
        raise


def identify(pid: int) -> Process:
    """The process that runs under ``pid`` now; DeviceError where none does."""
    fields = _stat(pid)
    if fields is None:
        raise DeviceError("the process ended", given=pid)
    return Process(pid, int(fields[19]), _boot())


def alive(process: Process) -> bool:
    """True while that very process runs; another one under the same number does not count."""
    fields = _stat(process.pid)
    return (
        fields is not None and fields[0] not in "ZX" and int(fields[19]) == process.started and _boot() == process.boot
    )


def kill(process: Process, number: signal.Signals = signal.SIGKILL, wait_s: float = 10.0) -> bool:
    """Signal that very process; True once it is gone, False where it outlived the wait."""
    if alive(process):
        os.kill(process.pid, number)
    return gone(process, wait_s)


def gone(process: Process, wait_s: float) -> bool:
    """Wait for the end of the process; False where it outlived the wait."""
    end = time.monotonic() + wait_s
    while alive(process):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def monitor(folder: Path, order: str, timeout_s: float = 10.0) -> str:
    """Give QEMU's monitor one order and return its answer; TransportError where it hangs up (as on ``quit``)."""
    handle = os.open(folder, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            # a socket's path is limited to 108 bytes: go through the folder's descriptor
            link.connect(f"/proc/self/fd/{handle}/{MONITOR}")
            _until_prompt(link)
            link.sendall(order.encode() + b"\n")
            return _until_prompt(link)
    except OSError as error:
        raise TransportError(f"QEMU's monitor does not answer: {error}", where=str(folder)) from error
    finally:
        os.close(handle)


def _until_prompt(link: socket.socket) -> str:
    text = b""
    while not text.endswith(b"(qemu) "):
        more = link.recv(4096)
        if not more:
            raise ConnectionResetError("it hung up")
        text += more
    return text.decode(errors="replace")


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the second field, a name in brackets, may itself hold blanks and brackets
    return text.rpartition(")")[2].split()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
