"""``edgekit completion``: a script that lets the shell complete verbs and flags."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, verb

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress


def add(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "completion",
        "print a completion script for the shell",
        run,
        show,
        description='Print a completion script. Try it at once: eval "$(edgekit completion bash)".',
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")


def run(args: Namespace, progress: Progress) -> dict[str, str]:
    import shtab

    from edgekit.cli.main import parser

    return {"shell": args.shell, "script": shtab.complete(parser(), args.shell)}


def show(args: Namespace, value: dict[str, str], paper: Console) -> None:
    print(value["script"])
