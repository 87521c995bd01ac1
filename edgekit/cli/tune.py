"""``edgekit tune``: how many threads, and which cores, a board runs a model best on."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, home, verb
from edgekit.cli.paper import figure, table

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.spec.setting import Tuning


def add(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "tune",
        "find the threads and cores a board runs a model best on",
        run,
        show,
        description="Time a bundle's model on a board with different numbers of threads and cores; 'deploy' then runs "
        "it in the best way on every board of that target.",
    )
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="a folder, a name or a digest; default: the newest")
    add_device(parser)
    parser.add_argument("--samples", type=int, default=64, metavar="N", help="texts a round (default: 64)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each is timed (default: 3)")


def run(args: Namespace, progress: Progress) -> Tuning:
    from edgekit import pipeline

    return pipeline.tune(
        args.bundle,
        target=args.target,
        device=args.device,
        samples=args.samples,
        rounds=args.rounds,
        home=home(args),
        report=progress,
    )


def show(args: Namespace, found: Tuning, paper: Console) -> None:
    one = next((way.ms for way in found.tried if way.setting.threads == 1 and not way.setting.cores), None)
    rows = [
        (
            "→" if way.setting == found.chosen else "",
            str(way.setting.threads),
            ", ".join(map(str, way.setting.cores)) or "any",
            figure(way.ms),
            f"{one / way.ms:.2f}×" if one and way.ms else None,
            way.failure,
        )
        for way in found.tried
    ]
    columns = ("", "threads", "cores", "ms/text", "against one thread", "failure")
    paper.print(table(f"{found.device} ({found.target})", columns, rows, right=columns[1:2] + columns[3:5]))
    paper.print(
        f"medians of {found.samples} texts × {found.rounds} rounds, end to end on the board's clock; "
        f"kept for every {'emulated ' if found.emulated else ''}{found.target}"
    )
