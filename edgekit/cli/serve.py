"""``edgekit serve``: have a device serve its release, or serve a bundle on this host."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.cli import status
from edgekit.cli.options import Parser, Verbs, add_device, home, verb
from edgekit.cli.paper import short
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Served
    from edgekit.spec.wire import Status


def add(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "serve",
        "have a device serve its release, or serve a bundle here",
        run,
        show,
        description="Have a device serve its release over HTTP, now and at boot; or serve a bundle on this host.",
    )
    add_device(parser)
    parser.add_argument("--local", metavar="BUNDLE", help="serve this bundle here, in the foreground")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="with --local: the Unix socket to listen on")
    parser.add_argument("--remove", action="store_true", help="end the device's service, for good")
    add_listen(parser)


def add_listen(parser: Parser) -> None:
    """``--listen`` and ``--token-file``: who may ask besides the device's own user."""
    parser.add_argument(
        "--listen", default="", metavar="HOST:PORT", help="listen here besides the Unix socket (127.0.0.1:8765)"
    )
    add_token(parser, "the bearer token that callers by --listen must show; needed beyond loopback")


def add_token(parser: Parser, help: str) -> None:
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=help)


def run(args: Namespace, progress: Progress) -> Served | Status:
    from edgekit import pipeline

    if args.local is not None:
        if args.target or args.device or args.remove:
            raise UsageError("--local serves on this host, without a device")
        return pipeline.serve_local(
            args.local,
            socket=args.socket,
            listen=args.listen,
            token_file=args.token_file,
            home=home(args),
            report=progress,
        )
    if args.socket:
        raise UsageError("--socket belongs to --local", remedy="a device's service listens below the agent's root")
    return pipeline.service(
        target=args.target,
        device=args.device,
        remove=args.remove,
        listen=args.listen,
        token_file=args.token_file,
        home=home(args),
        report=progress,
    )


def show(args: Namespace, value: Served | Status, paper: Console) -> None:
    """Of a device what runs there now; here, become the service: its exit code is ours."""
    from edgekit.outcome import Served

    if not isinstance(value, Served):
        status.show(args, value, paper)
        return
    paper.print(f"serving {short(value.release)} at {value.socket}")
    if value.url:
        paper.print(f"and at {value.url}: a page to try it")
    sys.stdout.flush()
    os.execvp(value.command[0], value.command)
