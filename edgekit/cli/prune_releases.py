"""``edgekit prune-releases``: drop old releases and what only they used."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, count, home, verb
from edgekit.cli.status import show

if TYPE_CHECKING:
    from edgekit.cli.progress import Progress
    from edgekit.spec.wire import Status


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "prune-releases", "drop old releases from a device", run, show)
    add_device(parser)
    parser.add_argument("--keep", type=count, default=3, metavar="N", help="releases to keep (default: 3)")


def run(args: Namespace, progress: Progress) -> Status:
    from edgekit import pipeline

    return pipeline.prune_releases(
        target=args.target, device=args.device, keep=args.keep, home=home(args), report=progress
    )
