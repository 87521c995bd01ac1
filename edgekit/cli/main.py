"""``edgekit``: finds the verb, runs it, prints its value or its error, and answers with an exit code."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import edgekit
from edgekit.cli import (
    analyze,
    bench,
    build,
    bundle,
    completion,
    demo,
    deploy,
    device,
    generate,
    logs,
    predict,
    prune_releases,
    recipes,
    report,
    rollback,
    search,
    serve,
    status,
    targets,
    tune,
)
from edgekit.cli.options import Parser, common
from edgekit.cli.paper import document, paper
from edgekit.errors import EdgekitError, UsageError

_VERBS = (
    build,
    search,
    analyze,
    deploy,
    bench,
    tune,
    predict,
    generate,
    serve,
    status,
    rollback,
    prune_releases,
    logs,
    device,
    report,
    targets,
    recipes,
    bundle,
    demo,
    completion,
)
#: A full disk shows in mid-write, where nobody knows the file's name any more.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_EPILOG = """\
exit codes: 0 done · 1 a bug · 2 usage · 3 a bad recipe, target or bundle · 4 a gate missed ·
5 the device cannot take it · 6 the connection failed · 7 the device rolled back · 130 interrupted"""


def parser() -> Parser:
    """The parser with every verb; ``edgekit completion`` reads it too."""
    top = Parser(prog="edgekit", description=(edgekit.__doc__ or "").partition("\n")[0], epilog=_EPILOG)
    top.add_argument("--version", action="version", version=f"edgekit {edgekit.__version__}")
    common(top, top=True)
    verbs = top.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True, parser_class=Parser)
    for module in _VERBS:
        module.add(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the answer is the exit code. ``--help`` and ``--version`` leave by SystemExit(0)."""
    given = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in given
    try:
        args = _parse(given)
        as_json = args.json
        value = _call(args)
        _print(args, value)
        return 0
    except EdgekitError as error:
        return _fail(error, as_json)
    except KeyboardInterrupt:
        return _fail(Interrupted("interrupted"), as_json)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug is told in one line
        return _unforeseen(error, as_json, "--verbose" in given or "-v" in given)


def _parse(given: list[str]) -> argparse.Namespace:
    top = parser()
    if not given:
        top.print_help(sys.stderr)
    args, extra = top.parse_known_args(given)
    if extra:
        args.parser.refuse(extra)
    return args


def _call(args: argparse.Namespace) -> Any:
    from edgekit.cli.progress import progress

    with progress(quiet=args.quiet, verbose=args.verbose) as reporter:
        return args.run(args, reporter)


def _print(args: argparse.Namespace, value: Any) -> None:
    with _reader_may_leave():
        if args.json:
            print(document(value))
        else:
            args.show(args, value, paper())


def _fail(error: EdgekitError, as_json: bool) -> int:
    print(error, file=sys.stderr)
    if as_json:
        with _reader_may_leave():
            print(document(error.to_json()))
    return error.exit_code


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Whoever reads stdout may go before the end (``| head -1``): no error, here or when the interpreter ends.

    Only around printing: a broken pipe to a device is another matter.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Interrupted(EdgekitError):
    """Ctrl-C, told as any other end is."""

    exit_code = 130


def _unforeseen(error: Exception, as_json: bool, verbose: bool) -> int:
    """What nobody raised on purpose: this host's files, which the user can mend, or a bug."""
    if verbose or os.environ.get("EDGEKIT_DEBUG"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _FULL):
        return _fail(
            UsageError(
                f"a file of this host cannot be used: {error.strerror}",
                where=None if error.filename is None else str(error.filename),
                remedy="see that it is yours and that there is room; another place: --home DIR, -o DIR",
            ),
            as_json,
        )
    told = EdgekitError(
        f"this is a bug in edgekit: {type(error).__name__}: {error}",
        remedy="run it again with --verbose, and report it",
    )
    return _fail(told, as_json)
