"""The peers, measured where edgekit's own files are: on the host for their answers, on the board for their cost."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import record
from export import PEERS, Peer

from edgekit.data.samples import Samples, read
from edgekit.deliver import apply, connect, wheels
from edgekit.errors import EdgekitError
from edgekit.evaluating import PRICED, blob_of
from edgekit.fieldwork import Board, choose
from edgekit.home import Home
from edgekit.spec import wire
from edgekit.spec.progress import quiet
from edgekit.spec.target import RuntimeSupport
from edgekit.stages import versions

SCRIPT = Path(__file__).with_name("board.py")
HERE = Path(__file__).parent
COMMON = ("numpy==2.4.6", "tokenizers==0.23.3")
#: What each runtime needs on the board, pinned. ExecuTorch is not here: its wheel for ARM links a torch that comes with
#: CUDA only.
PACKAGES = {
    "onnx": ("onnxruntime==1.32.0", "flatbuffers==25.12.19", "protobuf==7.35.1", *COMMON),
    "litert": ("ai-edge-litert==2.3.0", "backports.strenum==1.2.8", *COMMON),
    "torch": ("torch==2.9.1", "typing-extensions==4.16.0", *COMMON),
}
TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Given:
    checkpoint: Path
    samples: Samples
    folder: Path
    texts: Path


def run(checkpoint: Path, samples: Path, out: Path, device: str | None, wanted: Sequence[str] = ()) -> None:
    """Export (once), measure and record the peers."""
    given = Given(checkpoint, read(samples), out, out / "texts.jsonl")
    for name in wanted or tuple(PEERS):
        listing = out / "peers.json"
        if not listing.exists() or name not in json.loads(listing.read_text()):
            subprocess.run([sys.executable, HERE / "export.py", checkpoint, samples, out, name], check=True)
        described = json.loads(listing.read_text())[name]
        peer = Peer(**{**described, "lengths": tuple(described["lengths"])})
        given.texts.write_text("".join(json.dumps({"text": one.text}) + "\n" for one in given.samples.test))
        record.save(_measured(name, peer, given, device))


def _measured(name: str, peer: Peer, given: Given, device: str | None) -> record.Record:
    file = given.folder / peer.file
    truth = [one.label for one in given.samples.test]
    spec = {
        "runtime": peer.runtime,
        "file": str(file),
        "tokenizer": str(given.checkpoint / "tokenizer.json"),
        "texts": str(given.texts),
        "count": len(truth),
        "lengths": peer.lengths,
    }
    (given.folder / "spec.json").write_text(json.dumps(spec))
    done = subprocess.run([sys.executable, SCRIPT, given.folder / "spec.json"], check=True, capture_output=True)
    host = json.loads(done.stdout.splitlines()[-1])
    right = sum(a == b for a, b in zip(host["labels"], truth, strict=True))
    made = record.Record(
        name=name,
        group="peers",
        title=peer.name,
        accuracy=100 * right / len(truth),
        held_out=len(truth),
        size=file.stat().st_size,
        deflated=len(zlib.compress(file.read_bytes(), 9)),
        host_ms=median(host["end_to_end"]),
        versions=versions("torch", "onnxruntime", "ai-edge-litert", "ai-edge-quantizer", "executorch", "torchao"),
    )
    if peer.runtime not in PACKAGES:
        return replace(made, note="not run on the board: its wheel for ARM links a torch that only comes with CUDA")
    try:
        with Board(Home.default(), choose(Home.default(), target="rpi4", device=device)) as board:
            answer = _on_board(board, spec, file)
            latency = median(answer["end_to_end"])
            memory = answer["vm_hwm"] - answer["bare_rss"]
            return replace(made, latency_ms=latency, peak_memory=memory, device="rpi4, emulated", clock="counted")
    except EdgekitError as error:
        return replace(made, note=f"on the board: {error.message}")


def _on_board(board: Board, spec: dict[str, Any], file: Path) -> dict[str, Any]:
    target = replace(board.target, runtimes={"peer": RuntimeSupport(PACKAGES[spec["runtime"]])})
    found = wheels.blobs(wheels.resolve(target, "peer", board.home.cache, quiet))
    digest = wheels.digest(found)
    apply.ship(board.agent, {blob: one.name for blob, one in found.items()}, found, quiet)
    board.agent.call("unpack", wire.Unpack(digest, tuple(found)), dict, quiet)
    with connect(board.device) as transport:
        root = f"{transport.home()}/.local/share/edgekit"
        folder = f"{transport.home()}/peers"
        transport.mkdir(folder)
        sent = {**spec, "count": PRICED, "file": f"{folder}/{blob_of(file).sha256}"}
        if transport.size(sent["file"]) != file.stat().st_size:
            transport.put(file, sent["file"])
        for key in ("tokenizer", "texts"):
            content = Path(spec[key]).read_bytes()
            sent[key] = f"{folder}/{hashlib.sha256(content).hexdigest()}"
            transport.put(Path(spec[key]), sent[key])
        local = file.with_name("board-spec.json")
        local.write_text(json.dumps(sent))
        transport.put(local, f"{folder}/spec.json")
        transport.put(SCRIPT, f"{folder}/board.py")
        line = shlex.join(["python3", f"{folder}/board.py", f"{folder}/spec.json"])
        command = f"PYTHONPATH={root}/runtimes/{digest} OMP_NUM_THREADS=1 {line}; rm -f {sent['file']}"
        process = transport.start(["sh", "-c", command])
        answer = process.readline(TIMEOUT_S)
        if not answer:
            process.wait(5.0)
            raise EdgekitError(process.stderr_tail().strip().splitlines()[-1])
        return dict(json.loads(answer))
