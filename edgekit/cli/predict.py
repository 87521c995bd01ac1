"""``edgekit predict``: answers of the deployed release."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, count, home, verb
from edgekit.cli.paper import figure, short, table

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.spec.wire import Predictions


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "predict", "ask the deployed release", run, show)
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="a text each; '-' reads them from stdin, one a line")
    add_device(parser)
    parser.add_argument("--top", type=count, default=3, metavar="N", help="labels or next tokens to show (default: 3)")


def run(args: Namespace, progress: Progress) -> Predictions:
    from edgekit import pipeline

    texts = [line.rstrip("\n") for line in sys.stdin if line.strip()] if args.texts == ["-"] else args.texts
    return pipeline.predict(
        texts, target=args.target, device=args.device, top=args.top, home=home(args), report=progress
    )


def show(args: Namespace, answer: Predictions, paper: Console) -> None:
    rows = [
        (
            one.text,
            # next tokens have spaces of their own
            ", ".join(
                f"{repr(score.label) if score.label != score.label.strip() else score.label} {score.probability:.1%}"
                for score in one.scores
            ),
            f"{one.tokens}{' (truncated)' if one.truncated else ''}",
            one.bucket,
            figure(one.ms),
        )
        for one in answer.predictions
    ]
    columns = ("text", "labels", "tokens", "bucket", "ms")
    paper.print(table("", columns, rows, right=columns[2:]))
    paper.print(f"release {short(answer.release)}, artifact {answer.artifact}; ms on the device's clock")
