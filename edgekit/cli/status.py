"""``edgekit status``: the releases on a device."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, home, verb
from edgekit.cli.paper import megabytes, moment, short, table

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.spec.wire import Status


def add(verbs: Verbs) -> None:
    add_device(verb(verbs, "status", "list the releases on a device", run, show))


def run(args: Namespace, progress: Progress) -> Status:
    from edgekit import pipeline

    return pipeline.status(target=args.target, device=args.device, home=home(args), report=progress)


def show(args: Namespace, status: Status, paper: Console) -> None:
    if not status.releases:
        paper.print("no release is installed")
    else:
        rows = [
            (
                "→" if one.current else "",
                short(one.release),
                one.name,
                one.artifact,
                one.state,
                moment(one.installed),
                megabytes(one.size),
            )
            for one in status.releases
        ]
        columns = ("", "release", "name", "artifact", "state", "installed (device's clock)", "size")
        paper.print(table("", columns, rows, right=("size",)))
    paper.print(f"store {megabytes(status.store_bytes)}, free {megabytes(status.disk_free)}")
