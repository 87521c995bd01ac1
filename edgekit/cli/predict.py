"""``edgekit predict``: answers of the deployed release."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, count, home, verb
from edgekit.cli.paper import figure, short, table
from edgekit.cli.serve import add_token

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.spec.wire import Predictions


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "predict", "ask the deployed release", run, show)
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="a text each; '-' reads them from stdin, one a line")
    add_device(parser)
    parser.add_argument("--url", metavar="URL", help="ask a service: http://HOST:PORT or unix:PATH, without a device")
    parser.add_argument("--fallback", metavar="URL", help="a service to ask where an answer is unsure")
    add_token(parser, "the bearer token for --url, or without one for --fallback")
    parser.add_argument("--top", type=count, default=3, metavar="N", help="labels or next tokens to show (default: 3)")


def run(args: Namespace, progress: Progress) -> Predictions:
    from edgekit import pipeline

    texts = [line.rstrip("\n") for line in sys.stdin if line.strip()] if args.texts == ["-"] else args.texts
    return pipeline.predict(
        texts,
        target=args.target,
        device=args.device,
        url=args.url,
        fallback=args.fallback,
        token_file=args.token_file,
        top=args.top,
        home=home(args),
        report=progress,
    )


def show(args: Namespace, answer: Predictions, paper: Console) -> None:
    rows = [
        (
            one.text,
            # next tokens have spaces of their own
            ", ".join(
                f"{repr(score.label) if score.label != score.label.strip() else score.label} {score.probability:.1%}"
                for score in one.scores
            )
            + (" – unsure" if one.unsure else ""),
            f"{one.tokens}{' (truncated)' if one.truncated else ''}",
            one.bucket,
            figure(one.ms),
        )
        for one in answer.predictions
    ]
    columns = ("text", "labels", "tokens", "bucket", "ms")
    paper.print(table("", columns, rows, right=columns[2:]))
    paper.print(f"release {short(answer.release)}, artifact {answer.artifact}; ms on the device's clock")
    if answer.handed:
        paper.print(f"{len(answer.handed)} of {len(answer.predictions)} were unsure, and answered by {args.fallback}")
