"""``edgekit generate``: the deployed language model goes on with a text."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, count, home, verb
from edgekit.cli.paper import figure, short
from edgekit.cli.serve import add_token

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.spec.wire import Generated


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "generate", "go on with a text, by the deployed language model", run, show)
    parser.add_argument("prompt", metavar="TEXT", help="how the text begins; '-' reads it from stdin")
    add_device(parser)
    parser.add_argument("--url", metavar="URL", help="ask a service: http://HOST:PORT or unix:PATH, without a device")
    add_token(parser, "the bearer token for --url")
    parser.add_argument("--max-tokens", type=count, default=64, metavar="N", help="how long it may get (default: 64)")
    parser.add_argument(
        "--temperature", type=_number, default=0.0, metavar="T", help="0, the default: the likeliest token each time"
    )
    parser.add_argument("--top-k", type=count, metavar="N", help="draw among the N likeliest tokens")
    parser.add_argument(
        "--top-p", type=_number, default=1.0, metavar="P", help="draw among the fewest that reach this probability"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed draws the same (default: 0)")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end there; may be given again")
    parser.add_argument(
        "--window", action="store_true", help="let the oldest tokens fall out where the context is full"
    )


def run(args: Namespace, progress: Progress) -> Generated:
    from edgekit import pipeline

    def tell(piece: str) -> None:
        progress.pause()
        try:
            sys.stdout.write(piece)
            sys.stdout.flush()
        except BrokenPipeError:
            # whoever read it left; the device goes on to the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return pipeline.generate(
        sys.stdin.read() if args.prompt == "-" else args.prompt,
        target=args.target,
        device=args.device,
        url=args.url,
        token_file=args.token_file,
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        seed=args.seed,
        stop=args.stop,
        window=args.window,
        tell=None if args.json else tell,
        home=home(args),
        report=progress,
    )


def show(args: Namespace, answer: Generated, paper: Console) -> None:
    """The text is out already: stdout carries nothing else."""
    print()
    if args.quiet:
        return
    times = answer.token_ms
    each = f", then {figure(sum(times) / len(times))} ms a token" if times else ""
    print(
        f"{len(answer.tokens)} tokens, stopped by {answer.stopped.replace('_', ' ')}; {answer.prompt_tokens} of the "
        f"prompt ({answer.reused} known) in {figure(answer.prefill_ms)} ms{each}; release {short(answer.release)}, "
        f"artifact {answer.artifact}; ms on the device's clock",
        file=sys.stderr,
    )


def _number(text: str) -> float:
    """A number of 0 or more, for argparse's ``type``."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value
