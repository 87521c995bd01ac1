"""What a sentence costs, all contenders in one run: instructions on the emulated boards, time on this host.

Instructions are the boards' counted clock (8 ns each) turned back; batch 1, one thread. Host times are taken in rounds
in which the contenders take turns, and compared within a round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import contender
import peers
import record
import running

from edgekit import load, pipeline
from edgekit.bundle import folder
from edgekit.data.samples import Samples, read
from edgekit.deliver import registry
from edgekit.errors import UsageError
from edgekit.fieldwork import Board, power_on
from edgekit.home import Home
from edgekit.spec import codec
from edgekit.spec.device import Device
from edgekit.stages import versions

TARGETS = ("rpi4", "rpi5")
AGAINST = ("onnx-dynamic",)
ROUNDS, TEXTS, COUNTED = 15, 200, 64
NS_PER_INSTRUCTION = 8.0
FILE = record.FOLDER / "costs" / "costs.json"


@dataclass(frozen=True)
class Counted:
    """Millions of instructions a sentence on a target's processor, median: tokenizer and all, and the runtime alone."""

    end_to_end: float
    inference: float


@dataclass(frozen=True)
class Cost:
    """``host_ms`` a sentence end to end, median of rounds; ``ratios`` are the first contender's time over this one's,
    by round. ``size`` in bytes."""

    name: str
    title: str
    size: int
    counted: dict[str, Counted]
    host_ms: float
    ratios: tuple[float, ...]


@dataclass(frozen=True)
class Costs:
    texts: int
    host_texts: int
    rows: tuple[Cost, ...]
    versions: dict[str, str] = field(default_factory=dict)


def run(checkpoint: Path, samples: Path, out: Path, bundles: Sequence[Path]) -> None:
    """The peers of ``out`` (see ``peers``), then each bundle; the teacher's float file out of the first. Raises
    UsageError where two bundles have one name."""
    entrants = [contender.peer(name, out, checkpoint) for name in AGAINST]
    manifests = [folder.read(one)[0] for one in bundles]
    entrants.append(contender.bundled(bundles[0], manifests[0], "baseline"))
    pairs = zip(bundles, manifests, strict=True)
    entrants += [contender.bundled(one, manifest, "optimized") for one, manifest in pairs]
    distinct(entrants)
    held = read(samples)
    times = _on_host(entrants, held, out)
    counted = {target: _on_board(target, entrants, peers.written(held, out)) for target in TARGETS}
    first = times[entrants[0].name]
    rows = tuple(
        Cost(
            one.name,
            one.title,
            one.file.stat().st_size,
            {target: found[one.name] for target, found in counted.items()},
            median(times[one.name]),
            tuple(a / b for a, b in zip(first, times[one.name], strict=True)),
        )
        for one in entrants
    )
    FILE.parent.mkdir(parents=True, exist_ok=True)
    used = versions("onnxruntime", "ai-edge-litert", "tokenizers", "numpy")
    FILE.write_text(codec.dumps(Costs(COUNTED, TEXTS, rows, used)) + "\n", "utf-8")


def distinct(entrants: Sequence[contender.Contender]) -> None:
    """Raise UsageError where two have one name: figures are kept by it."""
    names = [one.name for one in entrants]
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice:
        raise UsageError("two contenders have one name", given=twice, remedy="build one of them with --set name=…")


def _on_host(entrants: Sequence[contender.Contender], held: Samples, out: Path) -> dict[str, list[float]]:
    """Median ms a sentence by round."""
    texts = peers.written(held, out)
    times: dict[str, list[float]] = {one.name: [] for one in entrants}
    with ExitStack() as stack:
        hosts = {one.name: stack.enter_context(running.Host(one, texts, TEXTS, out)) for one in entrants}
        for number in range(ROUNDS):
            for name, host in hosts.items():
                times[name].append(median(host.round()["end_to_end"]))
            print(f"host: round {number + 1} of {ROUNDS}", flush=True)
    return times


def _on_board(target: str, entrants: Sequence[contender.Contender], texts: Path) -> dict[str, Counted]:
    home, found = Home.default(), {}
    with board_of(home, target) as device, Board(home, device) as board:
        for one in entrants:
            answer = running.on_board(board, one, texts, COUNTED)
            found[one.name] = Counted(_millions(answer["end_to_end"]), _millions(answer["inference"]))
            print(f"{target}: {one.name}: {found[one.name]}", flush=True)
    return found


@contextmanager
def board_of(home: Home, target: str) -> Iterator[Device]:
    """A board of its own, which is gone afterwards: another of its target would no longer be the only one."""
    device = power_on(home, load.target(target), f"costs-{target}", "counted")
    try:
        yield device
    finally:
        pipeline.device_down(device.name, home=home)
        registry.remove(home.devices, device.name)


def _millions(ms: Sequence[float]) -> float:
    return median(ms) / NS_PER_INSTRUCTION


def read_costs() -> Costs | None:
    """What the last :func:`run` wrote."""
    return codec.loads(Costs, FILE.read_text("utf-8"), str(FILE)) if FILE.exists() else None
