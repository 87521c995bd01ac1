"""``tools/results`` is the table of docs/results.md: measured by ``methods`` and ``peers``, written by ``table``.

``python tools/results`` writes docs/results.md from docs/results/*.json; ``… methods`` builds recipes/methods/*.yaml
and measures them on the board first; ``… peers CHECKPOINT SAMPLES OUT`` measures what people would use instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools/results", description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb")
    methods = verbs.add_parser("methods")
    peers = verbs.add_parser("peers")
    for name in ("checkpoint", "samples", "out"):
        peers.add_argument(name, type=Path)
    for one in (methods, peers):
        one.add_argument("--device")
        one.add_argument("--only", nargs="+", default=(), metavar="NAME")
    asked = parser.parse_args()
    if asked.verb == "peers":
        import peers as measuring

        measuring.run(asked.checkpoint, asked.samples, asked.out, asked.device, asked.only)
    elif asked.verb == "methods":
        import methods as building

        building.run(asked.device, asked.only)
    import table

    table.write()


if __name__ == "__main__":
    main()
