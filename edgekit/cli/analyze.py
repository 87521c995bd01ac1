"""``edgekit analyze``: what each method costs at each layer."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, add_settings, home, verb
from edgekit.cli.paper import table

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Analyzed


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "analyze", "the accuracy each method alone costs at each layer, without retraining", run, show)
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe's YAML file or name (see 'edgekit recipes')")
    add_device(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with a heat map")
    add_settings(parser, "data.validation=1000")


def run(args: Namespace, progress: Progress) -> Analyzed:
    from edgekit import pipeline

    return pipeline.analyze(
        args.recipe,
        target=args.target,
        device=args.device,
        html=args.html,
        overrides=tuple(args.overrides),
        home=home(args),
        report=progress,
    )


def show(args: Namespace, analyzed: Analyzed, paper: Console) -> None:
    from edgekit.report import sensitivity

    found = analyzed.sensitivity
    drawn = sensitivity.table(found)
    paper.print(table(drawn.title, drawn.columns, drawn.rows, right=drawn.columns[1:]))
    paper.print(sensitivity.summary(found))
    for reason in sensitivity.reasons(found):
        paper.print(f"not tried: {reason}")
    if analyzed.html:
        paper.print(f"html: {analyzed.html}")
