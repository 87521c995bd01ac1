"""``tools/results`` is the table of docs/results.md: measured by ``methods`` and ``peers``, written by ``table``.

``python tools/results`` writes docs/results.md from docs/results/*.json; ``… methods`` builds recipes/methods/*.yaml
and measures them on the board first; ``… peers CHECKPOINT SAMPLES OUT`` measures what people would use instead;
``… costs CHECKPOINT SAMPLES OUT BUNDLE…`` counts a sentence's instructions, peers and bundles in one run;
``… shapes CHECKPOINT OUT`` takes Transformer-base and -large, with random weights, through the same road.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools/results", description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb")
    methods, peers, costs = (verbs.add_parser(name) for name in ("methods", "peers", "costs"))
    for name in ("checkpoint", "samples", "out"):
        peers.add_argument(name, type=Path)
        costs.add_argument(name, type=Path)
    shapes = verbs.add_parser("shapes")
    shapes.add_argument("tokenizer", type=Path)
    shapes.add_argument("out", type=Path)
    costs.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    methods.add_argument("--seeds", nargs="+", type=int, default=(), help="of the last step that trains")
    for one in (methods, peers, shapes):
        one.add_argument("--device")
        one.add_argument("--only", nargs="+", default=(), metavar="NAME")
    asked = parser.parse_args()
    if asked.verb == "peers":
        import peers as measuring

        measuring.run(asked.checkpoint, asked.samples, asked.out, asked.device, asked.only)
    elif asked.verb == "methods":
        import methods as building

        building.run(asked.device, asked.only, asked.seeds)
    elif asked.verb == "shapes":
        import shapes as shaping

        shaping.run(asked.tokenizer, asked.out, asked.device, asked.only)
    elif asked.verb == "costs":
        import costs as counting

        counting.run(asked.checkpoint, asked.samples, asked.out, asked.bundles)
    import table

    table.write()


if __name__ == "__main__":
    main()
