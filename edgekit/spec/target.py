"""The target: a *kind* of board. One YAML file each under ``targets/``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.scheme import Scheme

SCHEMA = 1


#: The instructions that int8 kernels are written in: the first flag that a CPU has decides, as in XNNPACK and MLAS.
_INT8: Tuple[Tuple[str, str], ...] = (
    ("i8mm", "SMMLA, 32 products an instruction"),
    ("asimddp", "SDOT, 16 products an instruction"),
    ("asimd", "SMULL and SMLAL in pairs, 16 products in three instructions: int8 gains little over float"),
    ("neon", "VMULL and VMLAL in pairs, 8 products in two instructions: int8 gains little over float"),
)


@dataclass(frozen=True)
class Cpu:
    """``features`` are the names Linux prints in /proc/cpuinfo that every board of this kind has.

    ``clock_mhz`` is the default clock. ``arch`` is the userland's Debian name (arm64, armhf).
    """

    name: str
    arch: Literal["arm64", "armhf"]
    isa: str
    cores: int
    clock_mhz: int
    features: Tuple[str, ...] = ()

    @property
    def int8(self) -> str:
        """The kernels to expect for int8 products."""
        return next((kernels for flag, kernels in _INT8 if flag in self.features), "none that are vectors")


@dataclass(frozen=True)
class Os:
    """The system the board is expected to run: its Python (``3.11``) and its C library's version decide the wheels.
    ``suite`` is the release of Debian whose packages fit it."""

    name: str
    python: str
    glibc: str
    suite: str = "bookworm"


@dataclass(frozen=True)
class RuntimeSupport:
    """One runtime that can run there: ``packages`` are requirements ``name==version`` of wheels, ``debian`` packages
    ``name=version`` of what has no wheel for the board; or ``refused`` says why it cannot. Of a package that
    ``members`` names, those files of its wheel are shipped that match one of the patterns: a small board need not
    unpack thousands that nothing reads.

    ``needs`` are the CPU's flags that its code uses without asking for them first, ``ram_mb`` the memory it takes
    beside the model, ``lacks`` the schemes that it does not run, each with the reason, and ``source`` says where these
    were read or measured.
    """

    packages: Tuple[str, ...] = ()
    refused: Optional[str] = None
    debian: Tuple[str, ...] = ()
    members: Dict[str, Tuple[str, ...]] = field(default_factory=dict)
    needs: Tuple[str, ...] = ()
    ram_mb: int = 0
    lacks: Dict[Scheme, str] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        if bool(self.packages) == bool(self.refused):
            raise SpecError("a runtime has packages, or a reason why it is refused", where="$")
        if (self.needs or self.ram_mb or self.lacks) and not self.source:
            raise SpecError("what a runtime needs or lacks was read somewhere: say where", where="$.source")


@dataclass(frozen=True)
class Roofline:
    """Peaks with all cores, measured on real boards; ``source`` says where. Units: GFLOP/s, GOP/s, GB/s."""

    fp32_gflops: float
    memory_gbs: float
    int8_gops: Optional[float] = None
    fp16_gflops: Optional[float] = None
    source: str = ""


@dataclass(frozen=True)
class Emulation:
    """How QEMU stands in for the board: ``-M``, ``-cpu``, kernel package and what differs from the real one."""

    machine: str
    cpu: str
    suite: str = "bookworm"
    kernel: str = "linux-image-cloud-arm64"
    ram_mb: int = 1024
    differs: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """A kind of board. ``models`` are patterns (fnmatch) of /proc/device-tree/model that tell it on a live board.

    ``sensors`` are the names of what the agent can read there: ``thermal``, ``throttle``, ``pmic``.
    """

    name: str
    title: str
    cpu: Cpu
    ram_mb: int
    os: Os
    runtimes: Dict[str, RuntimeSupport]
    models: Tuple[str, ...] = ()
    roofline: Optional[Roofline] = None
    sensors: Tuple[str, ...] = ()
    emulation: Optional[Emulation] = None
    notes: Tuple[str, ...] = ()
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown target schema", where="$.schema", given=self.schema, allowed=SCHEMA)


@dataclass(frozen=True)
class Verdict:
    """Whether a kind of board runs a scheme of a format: ``runtime`` does, or, where it is empty, ``refused`` says why
    none does."""

    target: str
    format: str
    scheme: str
    runtime: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Facts:
    """What the agent read on a live board. Sizes in bytes, time in seconds since the epoch.

    ``arch`` is the *userland's* architecture (a 64-bit kernel may run a 32-bit userland), ``features`` the CPU flags
    of /proc/cpuinfo, ``sensors`` the readings by name, in the unit the name ends with. ``clocks_mhz`` are the cores'
    highest clocks by their numbers, where the board tells them.
    """

    arch: str
    kernel_arch: str
    features: Tuple[str, ...]
    cores: int
    cpu_part: str
    model: str
    python: str
    glibc: str
    ram_total: int
    ram_available: int
    disk_total: int
    disk_free: int
    clock: float
    root: str
    os: str = ""
    sensors: Dict[str, float] = field(default_factory=dict)
    counted_clock: bool = False
    clocks_mhz: Tuple[int, ...] = ()
