"""``edgekit report``: tables, plots and comparisons of results."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, home, verb

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Reported


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "report", "print a result, or compare results", run, show)
    parser.add_argument("results", nargs="*", metavar="RESULT", help="one to show, two to compare; none: the newest")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")


def run(args: Namespace, progress: Progress) -> Reported:
    from edgekit import pipeline

    return pipeline.report(tuple(args.results), html=args.html, home=home(args), report=progress)


def show(args: Namespace, reported: Reported, paper: Console) -> None:
    from edgekit.report import terminal

    paper.print(terminal.render(reported.result))
    if reported.before:
        paper.print(terminal.render_comparison(reported.before, reported.result))
    if reported.html:
        paper.print(f"html: {reported.html}")
