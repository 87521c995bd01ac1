"""The peers, measured where edgekit's own files are: on the host for their answers, on the board for their cost."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import contender
import record
import running
from export import PEERS

from edgekit.data.samples import Samples, read
from edgekit.errors import EdgekitError, UsageError
from edgekit.evaluating import PRICED
from edgekit.fieldwork import Board, choose
from edgekit.home import Home
from edgekit.spec.device import Device
from edgekit.stages import versions

TARGET = "rpi4"
HERE = Path(__file__).parent


def run(checkpoint: Path, samples: Path, out: Path, device: str | None, wanted: Sequence[str] = ()) -> None:
    """Export (once), measure and record the peers."""
    board = choose(Home.default(), target=TARGET, device=device)
    held = read(samples)
    texts = written(held, out)
    for name in wanted or tuple(PEERS):
        listing = out / "peers.json"
        if not listing.exists() or name not in json.loads(listing.read_text()):
            subprocess.run([sys.executable, HERE / "export.py", checkpoint, samples, out, name], check=True)
        one = contender.peer(name, out, checkpoint)
        with running.Host(one, texts, len(held.test), out) as host:
            answer = host.round()
        made = _record(one, answer["labels"], held)
        record.save(_on_board(made, one, texts, board))


def written(samples: Samples, out: Path) -> Path:
    """The held-out texts as JSON lines."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": one.text}) + "\n" for one in samples.test))
    return file


def _record(one: contender.Contender, labels: Sequence[int], held: Samples) -> record.Record:
    right = sum(label == sample.label for label, sample in zip(labels, held.test, strict=True))
    return record.Record(
        name=one.name,
        group="peers",
        title=one.title,
        accuracy=100 * right / len(held.test),
        held_out=len(held.test),
        size=one.file.stat().st_size,
        deflated=len(zlib.compress(one.file.read_bytes(), 9)),
        versions=versions("torch", "onnxruntime", "ai-edge-litert", "ai-edge-quantizer", "executorch", "torchao"),
    )


def _on_board(made: record.Record, one: contender.Contender, texts: Path, device: Device) -> record.Record:
    try:
        with Board(Home.default(), device) as board:
            answer = running.on_board(board, one, texts, PRICED)
    except UsageError:
        raise  # a board that is off says nothing of a peer
    except EdgekitError as error:
        return replace(made, note=f"on the board: {error.message}")
    latency, memory = median(answer["end_to_end"]), answer["vm_hwm"] - answer["bare_rss"]
    return replace(made, latency_ms=latency, peak_memory=memory, **record.place(device))
