"""``agent.pyz --root DIR serve …`` from start to end."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from edgekit.agent import lock, log
from edgekit.agent.service import flags, sockets
from edgekit.agent.service.keeper import Keeper
from edgekit.agent.service.routes import Service
from edgekit.agent.service.server import Server
from edgekit.errors import DeviceError, EdgekitError
from edgekit.spec.service import Options


def run(root: Path, args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. An error is told on stderr, and in the log."""
    try:
        serve(root, flags.options(args))
    except EdgekitError as error:
        log.write(root, "service failed", error=type(error).__name__, message=error.message)
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def serve(root: Path, options: Options) -> None:
    """Raises DeviceError where no release is current or it does not load, where a socket is in use or another service
    runs here; UsageError for an address that cannot be listened on."""
    if not (root / "releases").is_dir():
        raise DeviceError("no releases are here", where=str(root), remedy="deploy one: edgekit deploy")
    handle = lock.take_service(root)
    try:
        token = sockets.token(options.token_file) if options.token_file else ""
        path = flags.socket_of(root, options)
        listeners = [sockets.unix(path)]
        try:
            inode = path.stat().st_ino
            if options.listen:
                listeners.append(sockets.tcp(options.listen, bool(token)))
            keeper = Keeper(root, options)
            try:
                _until_stopped(Server(Service(root, keeper, token), listeners, options.connections), root)
            finally:
                keeper.end()
        finally:
            for one in listeners:
                one.close()
            sockets.remove(path, inode)
    finally:
        lock.release(handle)


def _until_stopped(server: Server, root: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    release = server.service.keeper.loaded.release
    log.write(root, "service started", release=release)
    print("release {} answers".format(release[:12]), file=sys.stderr, flush=True)
    server.run()
    log.write(root, "service ended")
