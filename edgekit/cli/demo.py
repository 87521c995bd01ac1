"""``edgekit demo``: all of it, on an emulated Raspberry Pi 4."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli import build, deploy, predict
from edgekit.cli.options import Verbs, home, verb

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Demo


def add(verbs: Verbs) -> None:
    verb(verbs, "demo", "do all of it, on an emulated Raspberry Pi 4", run, show)


def run(args: Namespace, progress: Progress) -> Demo:
    from edgekit import pipeline

    return pipeline.demo(home=home(args), report=progress)


def show(args: Namespace, demo: Demo, paper: Console) -> None:
    from edgekit.report import terminal

    build.show(args, demo.built, paper)
    deploy.show(args, demo.deployed, paper)
    predict.show(args, demo.predictions, paper)
    paper.print(terminal.render(demo.benched.result))
    for kind, file in demo.benched.files.items():
        paper.print(f"{kind}: {file}")
