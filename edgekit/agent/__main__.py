"""The agent: ``python3 agent.pyz [--root DIR]`` on the device. Speaks ``edgekit.spec.wire`` on stdin and stdout; with
``serve`` behind it, it is the service instead."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any, Dict, Optional

from edgekit.agent import lock, log, serve, store
from edgekit.agent.operations import Session, operations
from edgekit.agent.service import flags


def default_root() -> Path:
    """``$EDGEKIT_ROOT``, else ``edgekit`` in the user's data folder."""
    named = os.environ.get("EDGEKIT_ROOT")
    return Path(named) if named else Path.home() / ".local/share/edgekit"


def main() -> None:
    parser = argparse.ArgumentParser(prog="agent", description="edgekit's agent: JSON lines on stdin and stdout.")
    parser.add_argument(
        "--root",
        type=Path,
        default=None,
        help="where releases live (default: $EDGEKIT_ROOT, else ~/.local/share/edgekit)",
    )
    commands = parser.add_subparsers(dest="command")
    flags.add(commands.add_parser("serve", help="answer over HTTP, see edgekit.spec.service"))
    args = parser.parse_args()
    root = (args.root or default_root()).expanduser().absolute()
    if args.command == "serve":
        from edgekit.agent.service import command  # a web server, which no other agent needs

        sys.exit(command.run(root, args))
    speak(root)


def speak(root: Path) -> None:
    """Answer the host's requests until it goes."""

    def on_failure(name: str, failure: Dict[str, Any], trace: Optional[str]) -> None:
        log.write(root, "failed", op=name, error=failure.get("error"), message=failure.get("message"), trace=trace)

    out = serve.claim_stdout()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    store.prepare(root)
    handle, alone = lock.join_session(root)
    if alone:
        store.clear(root)
        lock.share_session(handle)
    requests = serve.Lines(0)
    session = Session(root, host=requests)
    try:
        serve.serve(requests, out, operations(session), on_failure)
    except serve.HungUp:
        log.write(root, "hung up")
    finally:
        session.end()


if __name__ == "__main__":
    main()
