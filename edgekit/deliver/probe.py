"""Which target fits a live board, and where it differs from it. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.spec.target import Facts, Target

#: "CPU part" of /proc/cpuinfo → the core's name (Arm's MIDR_EL1 part numbers, implementer 0x41).
PARTS = {
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
}
#: A board of 1024 MB shows less: firmware, GPU and kernel take theirs first.
RAM_SHOWN = 0.8


@dataclass(frozen=True)
class Row:
    """One property: what the target promises, what the board shows."""

    name: str
    expected: str
    found: str
    fits: bool


@dataclass(frozen=True)
class Match:
    """``how`` says what told the target (``model`` or ``cpu``); ``rows`` compare it with the board."""

    target: Target
    how: str
    rows: tuple[Row, ...]

    @property
    def differs(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.fits)


def match(facts: Facts, targets: Sequence[Target]) -> Match | None:
    """The target that fits best, or ``None`` where none can run there.

    The model name of the device tree decides. Where it is unknown (an emulated board has none of its own), the target
    must be loadable there (architecture and CPU features); of those, the one with the same core and the nearest RAM.
    """
    for target in targets:
        if facts.arch == target.cpu.arch and any(fnmatch.fnmatchcase(facts.model, one) for one in target.models):
            return Match(target, "model", compare(facts, target))
    fitting = [one for one in targets if one.cpu.arch == facts.arch and set(one.cpu.features) <= set(facts.features)]
    if not fitting:
        return None
    best = min(fitting, key=lambda one: _distance(facts, one))
    return Match(best, "cpu", compare(facts, best))


def compare(facts: Facts, target: Target) -> tuple[Row, ...]:
    """Each property of the target beside the board's."""
    lacking = sorted(set(target.cpu.features) - set(facts.features))
    core = PARTS.get(facts.cpu_part, facts.cpu_part or "unknown")
    python = ".".join(facts.python.split(".")[:2])
    rows = [
        Row("architecture", target.cpu.arch, facts.arch, facts.arch == target.cpu.arch),
        Row("core", target.cpu.name, core, core.lower() in target.cpu.name.lower()),
        Row("cores", str(target.cpu.cores), str(facts.cores), facts.cores >= target.cpu.cores),
        Row(
            "cpu features", _listed(target.cpu.features), f"lacks {_listed(lacking)}" if lacking else "all", not lacking
        ),
        Row("memory", f"{target.ram_mb} MB", f"{facts.ram_total >> 20} MB", _enough_ram(facts, target)),
        Row("python", target.os.python, facts.python, python == target.os.python),
        Row("glibc", f"{target.os.glibc} or newer", facts.glibc, _numbers(facts.glibc) >= _numbers(target.os.glibc)),
        Row("system", target.os.name, facts.os or "unknown", True),
    ]
    if target.models:
        fits = any(fnmatch.fnmatchcase(facts.model, one) for one in target.models)
        rows.insert(0, Row("model", " or ".join(target.models), facts.model or "unknown", fits))
    return tuple(rows)


def _distance(facts: Facts, target: Target) -> tuple[bool, int, float, str]:
    """Less is nearer: another core, features the target does not use, another amount of RAM; the name breaks ties."""
    core = PARTS.get(facts.cpu_part, "")
    unused = len(set(facts.features) - set(target.cpu.features))
    ram = facts.ram_total / (1 << 20)
    other_core = not core or core.lower() not in target.cpu.name.lower()
    return (other_core, unused, abs(ram - target.ram_mb) / target.ram_mb, target.name)


def _enough_ram(facts: Facts, target: Target) -> bool:
    return facts.ram_total >= RAM_SHOWN * target.ram_mb * (1 << 20)


def _listed(names: Sequence[str]) -> str:
    return " ".join(names) if names else "none"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in version.split(".") if one.isdigit())
