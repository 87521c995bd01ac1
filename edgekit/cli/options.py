"""The parser that all verbs share: common flags, and errors that name what is near."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from edgekit.errors import UsageError, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.home import Home

Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"
Run = Callable[[argparse.Namespace, "Progress"], Any]
Show = Callable[[argparse.Namespace, Any, "Console"], None]


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError instead of leaving the process, and does not guess short forms."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong:
            choices = [one.strip(" '") for one in wrong[2].split(",")]
            raise UsageError(
                f"{self.prog}: no such choice", given=wrong[1], allowed=choices, remedy=nearest(wrong[1], choices)
            )
        raise UsageError(f"{self.prog}: {message}", remedy=f"{self.prog} --help")

    def refuse(self, extra: Sequence[str]) -> NoReturn:
        """Raise UsageError for arguments that were left over, with the nearest flags."""
        flags = sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", self.format_help())))
        first = extra[0].partition("=")[0]
        if first.startswith("-"):
            raise UsageError(f"{self.prog}: no such flag", given=first, allowed=flags, remedy=nearest(first, flags))
        raise UsageError(f"{self.prog}: too many arguments", given=" ".join(extra), remedy=f"{self.prog} --help")


def verb(verbs: Verbs, name: str, help: str, run: Run, show: Show, *, description: str = "") -> Parser:
    """Declare one verb with the common flags; what ``run`` returns is printed by ``show`` or as JSON."""
    parser = verbs.add_parser(name, help=help, description=description or help[0].upper() + help[1:] + ".")
    common(parser, top=False)
    parser.set_defaults(run=run, show=show, parser=parser)
    return parser


def common(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """The flags every verb takes; they may stand before the verb or after it."""

    def default(value: object) -> Any:
        return value if top else argparse.SUPPRESS

    group = parser.add_argument_group("common flags")
    group.add_argument("--json", action="store_true", default=default(False), help="one JSON document on stdout")
    group.add_argument("-q", "--quiet", action="store_true", default=default(False), help="no progress on stderr")
    group.add_argument(
        "-v", "--verbose", action="store_true", default=default(False), help="every step, and tracebacks"
    )
    group.add_argument(
        "--home",
        type=Path,
        metavar="DIR",
        default=default(None),
        help="where edgekit keeps its files (or $EDGEKIT_HOME)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--target`` and ``--device``: which board is meant."""
    parser.add_argument("--target", metavar="NAME", help="the kind of board: rpi4, rpi5, … or a YAML file")
    parser.add_argument("--device", metavar="NAME", help="a registered device, by name or user@host[:port]")


def add_settings(parser: argparse.ArgumentParser, example: str) -> None:
    """``--set``: values of the recipe that are others this time."""
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"change one value of the recipe, as {example}",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """``-o``: where the bundle goes."""
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="write the bundle here, instead of into edgekit's own folder"
    )


def count(text: str) -> int:
    """A whole number of 1 or more, for argparse's ``type``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def home(args: argparse.Namespace) -> Home | None:
    """The home that ``--home`` names; ``None`` for the default one."""
    from edgekit.home import Home

    return Home(args.home.expanduser().resolve()) if args.home else None
