"""What this board is. Everything is read from ``board``, ``/`` unless a recorded tree is to be read."""

from __future__ import annotations

import os
import platform
import struct
import sys
import time
from pathlib import Path
from typing import Dict, Optional, Tuple

from edgekit.agent import sensors
from edgekit.spec.target import Facts

#: (ELF class in bits, e_machine) → Debian's name of the architecture.
_ARCHITECTURES: Dict[Tuple[int, int], str] = {
    (64, 183): "arm64",
    (32, 40): "armhf",
    (64, 62): "amd64",
    (32, 62): "x32",
    (32, 3): "i386",
    (64, 243): "riscv64",
    (64, 21): "ppc64el",
    (64, 22): "s390x",
}
_ARM_HARD_FLOAT = 0x400


def read(root: Path, board: Path = Path("/")) -> Facts:
    """Facts of the board; ``root`` is the agent's folder, whose file system's space counts."""
    cpu = _cpuinfo(board)
    memory = _meminfo(board)
    disk = os.statvfs(root)
    return Facts(
        arch=elf_architecture(Path(sys.executable)),
        kernel_arch=platform.machine(),
        features=tuple(sorted(set((cpu.get("Features") or cpu.get("flags") or "").split()))),
        cores=os.cpu_count() or 1,
        cpu_part=cpu.get("CPU part", ""),
        model=_model(board),
        python="{}.{}".format(*sys.version_info[:2]),
        glibc=_glibc(),
        ram_total=memory.get("MemTotal", 0),
        ram_available=memory.get("MemAvailable", 0),
        disk_total=disk.f_blocks * disk.f_frsize,
        disk_free=disk.f_bavail * disk.f_frsize,
        clock=time.time(),
        root=str(root),
        os=_os_name(board),
        sensors=sensors.read(board),
        counted_clock="edgekit.clock=counted" in (_text(board / "proc/cmdline") or "").split(),
        clocks_mhz=_clocks(board, os.cpu_count() or 1),
    )


def _clocks(board: Path, cores: int) -> Tuple[int, ...]:
    """Each core's highest clock in MHz; nothing where one does not tell it."""
    said = [_text(board / f"sys/devices/system/cpu/cpu{one}/cpufreq/cpuinfo_max_freq") for one in range(cores)]
    found = [int(one) // 1000 for one in said if one is not None and one.strip().isdigit()]
    return tuple(found) if len(found) == cores else ()


def elf_architecture(program: Path) -> str:
    """Debian's name for what ``program`` is built for, from its ELF header (a 64-bit kernel may run 32-bit programs).

    ``unknown`` where it is no ELF file; ``class-machine`` for a machine without a name here.
    """
    with program.open("rb") as file:
        head = file.read(52)
    if len(head) < 52 or head[:4] != b"\x7fELF":
        return "unknown"
    bits = {1: 32, 2: 64}.get(head[4], 0)
    order = ">" if head[5] == 2 else "<"
    machine = struct.unpack_from(order + "H", head, 18)[0]
    name = _ARCHITECTURES.get((bits, machine), "{}-{}".format(bits, machine))
    if name == "armhf" and not struct.unpack_from(order + "I", head, 36)[0] & _ARM_HARD_FLOAT:
        return "armel"
    return name


def _glibc() -> str:
    """``2.36``, or nothing under another C library."""
    try:
        said = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""
    return said.split()[-1] if said.startswith("glibc ") else ""


def _text(path: Path) -> Optional[str]:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return None


def _cpuinfo(board: Path) -> Dict[str, str]:
    """The first core's entries."""
    pairs: Dict[str, str] = {}
    for line in (_text(board / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        pairs.setdefault(key.strip(), value.strip())
    return pairs


def _meminfo(board: Path) -> Dict[str, int]:
    """Bytes by name."""
    sizes = {}
    for line in (_text(board / "proc/meminfo") or "").splitlines():
        parts = line.replace(":", " ").split()
        if len(parts) == 3 and parts[2] == "kB":
            sizes[parts[0]] = int(parts[1]) * 1024
    return sizes


def _model(board: Path) -> str:
    """The device tree's name of the board, else the firmware's, else ``unknown``."""
    for name in ("proc/device-tree/model", "sys/class/dmi/id/product_name"):
        said = (_text(board / name) or "").strip("\0 \n")
        if said:
            return said
    return "unknown"


def _os_name(board: Path) -> str:
    for line in (_text(board / "etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip('"')
    return ""
