"""``edgekit rollback``: back to an earlier release."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, home, verb
from edgekit.cli.status import show

if TYPE_CHECKING:
    from edgekit.cli.progress import Progress
    from edgekit.spec.wire import Status


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "rollback", "go back to the release before, or to a named one", run, show)
    add_device(parser)
    parser.add_argument("--to", metavar="RELEASE", help="a release that 'edgekit status' lists")


def run(args: Namespace, progress: Progress) -> Status:
    from edgekit import pipeline

    return pipeline.rollback(target=args.target, device=args.device, to=args.to, home=home(args), report=progress)
