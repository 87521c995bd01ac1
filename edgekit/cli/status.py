"""``edgekit status``: the releases on a device."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, home, verb
from edgekit.cli.paper import megabytes, moment, short, table

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.spec.service import ServiceState
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
                str(one.setting.threads),
            )
            for one in status.releases
        ]
        columns = ("", "release", "name", "artifact", "state", "installed (device's clock)", "size", "threads")
        paper.print(table("", columns, rows, right=columns[-2:]))
    if status.service:
        show_service(status.service, paper)
    paper.print(f"store {megabytes(status.store_bytes)}, free {megabytes(status.disk_free)}")


def show_service(state: ServiceState, paper: Console) -> None:
    """What the device serves, and where."""
    paper.print(f"service {state.active} ({state.scope}), on unix:{state.socket}{_also(state.listen)}")
    now = state.answering
    if now is None:
        paper.print("  it does not answer: on the device, see 'journalctl -u edgekit' (or --user -u edgekit)")
    else:
        asked = now.hits + now.misses
        share = f", {now.hits / asked:.0%} of {asked} texts from its cache" if asked else ""
        restarts = f", runtime restarted {now.restarts} times" if now.restarts else ""
        paper.print(f"  release {short(now.release)}, {now.requests} requests{share}{restarts}")
        if now.failure:
            paper.print(f"  {now.failure}")
    for note in state.notes:
        paper.print(f"  {note}")


def _also(listen: str) -> str:
    return f" and http://{listen}" if listen else ""
