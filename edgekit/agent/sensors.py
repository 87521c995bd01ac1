"""What the board says about itself while it works. A sensor that is not there is absent from the readings.

==================  =====================================================================================
``thermal_c``       hottest thermal zone, degrees Celsius
``cpu_mhz``         lowest current clock of all cores, MHz
``throttle_bits``   Raspberry Pi firmware: bits 0–3 are live (under-voltage, capped, throttled, soft limit),
                    16–19 the same since boot
``pmic_w``          Raspberry Pi 5: sum over the power chip's rails of volts × amperes, watts
==================  =====================================================================================
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Dict, List, Optional, Tuple

LIVE_BITS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
_RAIL = re.compile(r"(\w+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9.]+)[AV]")


def read(board: Path = Path("/")) -> Dict[str, float]:
    """Readings by name. ``board`` is where /sys, /proc and /usr stand, so that a recorded tree can be read too."""
    readings = {
        "thermal_c": _highest(_numbers(board, "sys/class/thermal/thermal_zone*/temp"), 1000),
        "cpu_mhz": _lowest(_numbers(board, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"), 1000),
        "throttle_bits": _throttle(board),
        "pmic_w": _power(board),
    }
    return {name: value for name, value in readings.items() if value is not None}


def live_throttle(readings: Dict[str, float]) -> Tuple[str, ...]:
    """What holds the board back at this moment, by name."""
    bits = int(readings.get("throttle_bits", 0))
    return tuple(name for bit, name in LIVE_BITS.items() if bits >> bit & 1)


def swapped_in(board: Path = Path("/")) -> int:
    """Pages read back from swap since boot."""
    try:
        lines = (board / "proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("pswpin ")), 0)


def _numbers(board: Path, pattern: str) -> List[float]:
    found = []
    for path in board.glob(pattern):
        try:
            found.append(float(path.read_text()))
        except (OSError, ValueError):
            continue
    return found


def _highest(values: List[float], unit: float) -> Optional[float]:
    return max(values) / unit if values else None


def _lowest(values: List[float], unit: float) -> Optional[float]:
    return min(values) / unit if values else None


def _throttle(board: Path) -> Optional[float]:
    for path in board.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled"):
        try:
            return float(int(path.read_text().strip(), 16))
        except (OSError, ValueError):
            continue
    match = re.search(r"throttled=0x([0-9a-fA-F]+)", _vcgencmd(board, "get_throttled"))
    return float(int(match.group(1), 16)) if match else None


def _power(board: Path) -> Optional[float]:
    amperes: Dict[str, float] = {}
    volts: Dict[str, float] = {}
    for rail, kind, value in _RAIL.findall(_vcgencmd(board, "pmic_read_adc")):
        (amperes if kind == "A" else volts)[rail] = float(value)
    both = amperes.keys() & volts.keys()
    return sum(amperes[rail] * volts[rail] for rail in both) if both else None


def _vcgencmd(board: Path, command: str) -> str:
    """The firmware tool's answer, or nothing: a user outside the group ``video`` may not ask it."""
    program = board / "usr/bin/vcgencmd"
    if not program.is_file():
        return ""
    try:
        done = subprocess.run([str(program), command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("ascii", "replace")
