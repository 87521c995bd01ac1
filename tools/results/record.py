"""One row of the table of results: what was done, and what it gave, with where each figure comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.spec import codec
from edgekit.spec.device import Device

FOLDER = Path(__file__).parents[2] / "docs" / "results"
#: The groups of the table, in its order.
GROUPS = ("teacher", "peers", "distill", "prune", "share", "quantize", "mixed", "train", "best", "shapes")


@dataclass(frozen=True)
class Record:
    """``accuracy`` in per cent on ``held_out`` texts with the file itself, ``reference`` the teacher's. ``size`` and
    ``deflated`` in bytes. ``latency_ms`` is the median end to end per text on ``device`` (its clock ``counted`` or
    ``wall``), ``host_ms`` the same on the host, ``peak_memory`` in bytes above the bare interpreter on the device,
    ``seconds`` of training after the teacher's. ``note`` says what a reader must know; ``failure`` why there are no
    figures."""

    name: str
    group: str
    title: str
    accuracy: float | None = None
    reference: float | None = None
    held_out: int = 0
    size: int | None = None
    deflated: int | None = None
    latency_ms: float | None = None
    host_ms: float | None = None
    peak_memory: int | None = None
    seconds: float | None = None
    device: str = ""
    clock: str = ""
    scheme: str = ""
    seed: int = 7
    versions: dict[str, str] | None = None
    note: str = ""
    failure: str = ""


def save(record: Record) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{record.name}.json").write_text(codec.dumps(record) + "\n", "utf-8")


def place(device: Device) -> dict[str, str]:
    """``device`` and ``clock`` of what is measured on it; an emulated one is measured by its counting clock."""
    emulated = device.emulated is not None
    return {
        "device": f"{device.target}, {'emulated' if emulated else device.name}",
        "clock": "counted" if emulated else "wall",
    }


def load() -> Iterator[Record]:
    """All records, by group and name."""
    found = [codec.loads(Record, file.read_text("utf-8"), str(file)) for file in FOLDER.glob("*.json")]
    return iter(sorted(found, key=lambda one: (GROUPS.index(one.group), one.name)))
