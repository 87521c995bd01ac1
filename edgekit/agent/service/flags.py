"""The service's options on its command line. Light: every agent imports it."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import List

from edgekit.spec.service import Options

SOCKET = "service.sock"


def add(parser: argparse.ArgumentParser) -> None:
    """A flag for each of the options."""
    for one in dataclasses.fields(Options):
        kind = type(one.default)
        parser.add_argument(
            _flag(one.name), dest=one.name, type=kind, default=one.default, metavar=kind.__name__.upper()
        )


def options(args: argparse.Namespace) -> Options:
    """Raises SpecError where a value is out of range."""
    return Options(**{one.name: getattr(args, one.name) for one in dataclasses.fields(Options)})


def arguments(options: Options) -> List[str]:
    """The flags that mean these options; those that are as always are left out."""
    changed = [one for one in dataclasses.fields(Options) if getattr(options, one.name) != one.default]
    return ["{}={}".format(_flag(one.name), getattr(options, one.name)) for one in changed]


def socket_of(root: Path, options: Options) -> Path:
    return Path(options.socket) if options.socket else root / SOCKET


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
