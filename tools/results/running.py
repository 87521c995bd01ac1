"""Runs board.py: on this host, round by round, and on a board."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from contender import Contender

from edgekit.deliver import apply, connect, wheels
from edgekit.errors import EdgekitError
from edgekit.evaluating import blob_of
from edgekit.fieldwork import Board
from edgekit.spec import wire
from edgekit.spec.progress import quiet
from edgekit.spec.target import RuntimeSupport

SCRIPT = Path(__file__).with_name("board.py")
COMMON = ("numpy==2.4.6", "tokenizers==0.23.3")
#: What each runtime needs on the board, pinned.
SUPPORT = {
    "onnx": RuntimeSupport(("onnxruntime==1.32.0", "flatbuffers==25.12.19", "protobuf==7.35.1", *COMMON)),
    "litert": RuntimeSupport(("ai-edge-litert==2.3.0", "backports.strenum==1.2.8", *COMMON)),
    "torch": RuntimeSupport(("torch==2.9.1", "typing-extensions==4.16.0", *COMMON)),
    "executorch": RuntimeSupport(("executorch==1.5.1", *COMMON), members={"executorch": ("executorch/lib/*.so",)}),
}
#: What board.py loads a file with there, where it is not what it does on the host: ExecuTorch's Python module links a
#: torch that for ARM only comes with CUDA.
THERE = {"executorch": "executorch-bare"}
TIMEOUT_S = 3600.0


class Host:
    """One contender's process on this host, which answers all texts each time it is asked to."""

    def __init__(self, contender: Contender, texts: Path, count: int, scratch: Path) -> None:
        spec = scratch / f"{contender.name}.json"
        spec.write_text(json.dumps(contender.spec(texts, count)))
        self._process = subprocess.Popen(
            [sys.executable, SCRIPT, spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def round(self) -> dict[str, Any]:
        """``end_to_end`` and ``inference`` in ms by text, ``labels``, ``bare_rss`` and ``vm_hwm`` in bytes."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise EdgekitError(f"board.py ended with exit code {self._process.wait()}")
        return dict(json.loads(answer))


def on_board(board: Board, contender: Contender, texts: Path, count: int) -> dict[str, Any]:
    """One round there; the answer as of :meth:`Host.round`. Raises EdgekitError with the runtime's last line."""
    target = replace(board.target, runtimes={"peer": SUPPORT[contender.runtime]})
    found = wheels.blobs(wheels.resolve(target, "peer", board.home.cache, quiet))
    digest = wheels.digest(found)
    apply.ship(board.agent, {blob: one.name for blob, one in found.items()}, found, quiet)
    board.agent.call("unpack", wire.Unpack(digest, tuple(found)), dict, quiet)
    with connect(board.device) as transport:
        runtimes = f"{transport.home()}/.local/share/edgekit/runtimes"
        folder = f"{transport.home()}/peers"
        transport.mkdir(folder)
        sent = contender.spec(texts, count)
        sent["runtime"] = THERE.get(contender.runtime, contender.runtime)
        sent["file"] = f"{folder}/{blob_of(contender.file).sha256}"
        if transport.size(sent["file"]) != contender.file.stat().st_size:
            transport.put(contender.file, sent["file"])
        for key, file in (("tokenizer", contender.tokenizer), ("texts", texts)):
            sent[key] = f"{folder}/{hashlib.sha256(file.read_bytes()).hexdigest()}"
            transport.put(file, sent[key])
        local = texts.with_name("board-spec.json")
        local.write_text(json.dumps(sent))
        transport.put(local, f"{folder}/spec.json")
        transport.put(SCRIPT, f"{folder}/board.py")
        line = shlex.join(["python3", f"{folder}/board.py", f"{folder}/spec.json"])
        environment = f"PYTHONPATH={runtimes}/{digest}:{board.agent.file} OMP_NUM_THREADS=1"
        process = transport.start(["sh", "-c", f"echo once | {environment} {line}; rm -f {sent['file']}"])
        answer = process.readline(TIMEOUT_S)
        if not answer:
            process.wait(5.0)
            raise EdgekitError(last_words(process.stderr_tail()))
        return dict(json.loads(answer))


def last_words(stderr: str) -> str:
    """What a program that ended said last; one that was killed may have said nothing."""
    return next(iter(reversed(stderr.strip().splitlines())), "it said nothing")
