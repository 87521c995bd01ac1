"""``edgekit logs``: what the agent wrote down on the device."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, count, home, verb

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.spec.wire import LogLines


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "logs", "print the agent's log of a device", run, show)
    add_device(parser)
    parser.add_argument("-n", "--lines", type=count, default=100, metavar="N", help="lines from the end (default: 100)")


def run(args: Namespace, progress: Progress) -> LogLines:
    from edgekit import pipeline

    return pipeline.logs(target=args.target, device=args.device, lines=args.lines, home=home(args), report=progress)


def show(args: Namespace, logs: LogLines, paper: Console) -> None:
    for line in logs.lines:
        paper.print(line)
    if not logs.lines:
        paper.print("the log is empty")
