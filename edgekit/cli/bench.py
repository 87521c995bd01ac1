"""``edgekit bench``: baseline and optimized side by side, on the device."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, count, home, verb

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Benched


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "bench", "measure a bundle on a device, baseline and optimized side by side", run, show)
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="a bundle's folder or digest; else the newest one")
    add_device(parser)
    parser.add_argument("--samples", type=count, default=64, metavar="N", help="texts to time (default: 64)")
    parser.add_argument("--compare", metavar="RESULT", help="an earlier result to compare with")


def run(args: Namespace, progress: Progress) -> Benched:
    from edgekit import pipeline

    return pipeline.bench(
        args.bundle,
        target=args.target,
        device=args.device,
        samples=args.samples,
        compare=args.compare,
        home=home(args),
        report=progress,
    )


def show(args: Namespace, benched: Benched, paper: Console) -> None:
    from edgekit.report import terminal

    paper.print(terminal.render(benched.result))
    if benched.before:
        paper.print(terminal.render_comparison(benched.before, benched.result))
    for kind, file in benched.files.items():
        paper.print(f"{kind}: {file}")
