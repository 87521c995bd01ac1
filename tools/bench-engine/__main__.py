"""edgekit's engine against plain scripts over the same weights and texts: time here, instructions on boards.

``python tools/bench-engine CHECKPOINT SAMPLES OUT BUNDLE…``: ``CHECKPOINT`` is the float model whose weights all run,
``BUNDLE`` what edgekit built of it without compressing it first, ``OUT`` where the peers' files are written once (or
were, by ``tools/results peers``). Boards are emulated ones with the counting clock; its 8 ns are turned back into
instructions, which never stand for milliseconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[1]
sys.path.insert(0, str(TOOLS / "results"))

import columns  # noqa: E402
import contender  # noqa: E402
import engine  # noqa: E402
import peers  # noqa: E402

from edgekit.data.samples import read  # noqa: E402
from edgekit.spec import codec  # noqa: E402

PEERS = ("onnx-float", "onnx-dynamic", "litert-dynamic", "litert-static", "executorch-static")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools/bench-engine", description=__doc__.split("\n")[0])
    for name in ("checkpoint", "samples", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("bundles", type=Path, nargs="+", metavar="bundle")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7, help="on the host (0: none); contenders take turns")
    parser.add_argument("--targets", nargs="*", default=("rpi4", "rpi5"), help="emulated boards; none: the host alone")
    parser.add_argument("--peers", nargs="+", default=PEERS, choices=PEERS)
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="keep the figures as JSON, and a page beside it; places that a record has already, and that are not "
        "measured now, stay in it",
    )
    asked = parser.parse_args()
    held = read(asked.samples)
    texts = peers.written(held, asked.out)
    for name in asked.peers:
        listing = asked.out / "peers.json"
        if not listing.exists() or name not in json.loads(listing.read_text()):
            script = TOOLS / "results" / "export.py"
            subprocess.run([sys.executable, script, asked.checkpoint, asked.samples, asked.out, name], check=True)
    others = [contender.peer(name, asked.out, asked.checkpoint) for name in asked.peers]
    ours = [engine.Ours.of(one) for one in asked.bundles]
    found = engine.run(
        others,
        ours,
        texts,
        [one.label for one in held.test],
        asked.texts,
        asked.rounds,
        asked.targets,
        asked.checkpoint,
    )
    print(columns.rendered(found))
    if asked.record:
        if asked.record.exists():
            found = engine.joined(codec.loads(engine.Table, asked.record.read_text("utf-8")), found)
        asked.record.write_text(codec.dumps(found) + "\n", "utf-8")
        asked.record.with_suffix(".md").write_text(columns.page(found), "utf-8")


if __name__ == "__main__":
    main()
