"""``edgekit predict``: answers of the deployed release, and of labelled texts how far they may be believed."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, count, home, verb
from edgekit.cli.paper import figure, short, table
from edgekit.cli.serve import add_token
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Assessed, Share
    from edgekit.spec.wire import FoundSpan, Prediction, Predictions


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "predict", "ask the deployed release", run, show)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text each; '-' reads them from stdin, one a line")
    parser.add_argument(
        "--samples",
        type=Path,
        metavar="FILE",
        help="instead of texts: a .jsonl or .csv with text and label; what share stays here at which accuracy",
    )
    add_device(parser)
    parser.add_argument("--url", metavar="URL", help="ask a service: http://HOST:PORT or unix:PATH, without a device")
    parser.add_argument(
        "--fallback", metavar="URL", help="a service to ask where an answer is unsure; with --samples, of all"
    )
    add_token(parser, "the bearer token for --url, or without one for --fallback")
    parser.add_argument("--top", type=count, default=3, metavar="N", help="labels or next tokens to show (default: 3)")


def run(args: Namespace, progress: Progress) -> Predictions | Assessed:
    from edgekit import pipeline

    if bool(args.texts) == (args.samples is not None):
        raise UsageError("texts, or --samples with a file of them", remedy='edgekit predict "a text" --target rpi4')
    if args.samples is not None:
        return pipeline.assess(
            args.samples,
            target=args.target,
            device=args.device,
            url=args.url,
            fallback=args.fallback,
            token_file=args.token_file,
            home=home(args),
            report=progress,
        )
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


def show(args: Namespace, answer: Predictions | Assessed, paper: Console) -> None:
    from edgekit.outcome import Assessed

    if isinstance(answer, Assessed):
        show_shares(answer, paper)
        return
    rows = [
        (
            one.text,
            _answer(one),
            f"{one.tokens}{_windows(one)}{' (truncated)' if one.truncated else ''}",
            one.bucket,
            figure(one.ms),
        )
        for one in answer.predictions
    ]
    columns = ("text", _kind(answer.predictions[0]), "tokens", "bucket", "ms")
    paper.print(table("", columns, rows, right=columns[2:]))
    paper.print(f"release {short(answer.release)}, artifact {answer.artifact}; ms on the device's clock")
    if answer.handed:
        paper.print(f"{len(answer.handed)} of {len(answer.predictions)} were unsure, and answered by {args.fallback}")


def _kind(one: Prediction) -> str:
    if one.spans is not None:
        return "spans"
    return "labels" if one.embedding is None else "embedding"


def _answer(one: Prediction) -> str:
    if one.spans is not None:
        return _spans(one.spans)
    return _labels(one) if one.embedding is None else _numbers(one.embedding)


def _numbers(embedding: Sequence[float]) -> str:
    return f"{len(embedding)} numbers: {', '.join(f'{one:.4f}' for one in embedding[:4])}, …"


def _labels(one: Prediction) -> str:
    found = [
        # next tokens have spaces of their own
        f"{repr(score.label) if score.label != score.label.strip() else score.label} {score.probability:.1%}"
        for score in one.scores
    ]
    return ", ".join(found) + (" – unsure" if one.unsure else "")


def _spans(spans: Sequence[FoundSpan]) -> str:
    found = [
        f"{one.label} {one.text!r} at {one.start}–{one.end} {one.score:.1%}{' – unsure' if one.unsure else ''}"
        for one in spans
    ]
    return ", ".join(found) or "none"


def show_shares(found: Assessed, paper: Console) -> None:
    """A line a bound: what stays here, what is handed on, and how much of either is right."""
    columns = ["sure from", "stay here", "of them right"]
    if found.fallback:
        columns += ["handed on", "of them right there", "right together"]
    lines = [(figure(one.bound, 4), one) for one in found.rows] + [("its own", found.own)]
    rows = [(bound, *_cells(one)[: len(columns) - 1]) for bound, one in lines]
    paper.print(table("", columns, rows, right=columns))
    paper.print(f"{found.samples} labelled texts, release {short(found.release)}, artifact {found.artifact}")
    if found.fallback:
        alone = _share(found.fallback_accuracy)
        paper.print(f"handed on to {found.fallback}, which alone is right in {alone} of them")


def _cells(one: Share) -> tuple[str | None, ...]:
    there = (str(one.handed), _share(one.handed_accuracy), _share(one.together))
    return _share(one.local), _share(one.local_accuracy), *there


def _share(per_cent: float | None) -> str | None:
    return None if per_cent is None else f"{per_cent:.1f} %"


def _windows(one: Prediction) -> str:
    return f" in {one.windows} windows" if one.windows > 1 else ""
