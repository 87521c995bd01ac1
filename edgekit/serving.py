"""The service: installed on a device, or run on this host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgekit import load, shelf
from edgekit.bundle.verify import verify
from edgekit.deliver import agent_file, apply, preflight
from edgekit.deliver import plan as deploy_plan
from edgekit.deliver.client import Agent
from edgekit.deliver.local import LocalTransport
from edgekit.errors import UsageError
from edgekit.fieldwork import choose, session
from edgekit.home import Home
from edgekit.outcome import Served
from edgekit.spec import wire
from edgekit.spec.manifest import Blob, Manifest
from edgekit.spec.progress import Report, quiet
from edgekit.spec.service import Manage, Options

#: The longest path that a Unix socket may have.
SOCKET_PATH = 107


def read_token(file: Path | None) -> str | None:
    """The bearer token in a file. Raises UsageError where others may read it, or it holds none; the token itself is in
    no message."""
    if file is None:
        return None
    try:
        mode, said = os.stat(file).st_mode, file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token cannot be read: {type(error).__name__}", where=str(file)) from None
    if mode & 0o077:
        raise UsageError("others may read the token", where=str(file), remedy=f"chmod 600 {file}")
    if not said:
        # taken for none, it would leave a port open to everybody on the machine
        raise UsageError("there is no token in this file", where=str(file))
    return said


def install(agent: Agent, memory: int, listen: str, token: str | None, report: Report = quiet) -> wire.Status:
    """Have the device start the service, now and at boot. ``memory`` is what preflight asks for, in bytes: the service
    is bounded by twice that, since a new release loads beside the old one. Raises DeviceError where the device has no
    systemd, UsageError for an address it may not listen on."""
    request = Manage("install", Options(listen=listen), 2 * memory, token)
    return agent.call("service", request, wire.Status, report)


def check(agent: Agent, listen: str, token: str | None) -> None:
    """Raise what :func:`install` would, before anything is sent."""
    agent.call("service", Manage("check", Options(listen=listen), token=token), wire.Status)


def service(
    *,
    target: str | None = None,
    device: str | None = None,
    remove: bool = False,
    listen: str = "",
    token_file: Path | None = None,
    home: Home | None = None,
    report: Report = quiet,
) -> wire.Status:
    """Start the service on a device that has a release, now and at boot; or with ``remove`` stop it, for good.

    Args:
        listen: ``host:port`` to listen on besides the Unix socket.
        token_file: holds the bearer token that callers by ``listen`` must show.

    Raises:
        DeviceError: no release is there, or no systemd. UsageError: an address beyond the device without a token.
    """
    home = home or Home.default()
    chosen = choose(home, target=target, device=device)
    token = read_token(token_file)
    with session(home, chosen, report) as agent:
        if remove:
            return agent.call("service", Manage("remove"), wire.Status, report)
        now = agent.call("status", None, wire.Status)
        current = next((one for one in now.releases if one.current), None)
        if current is None:
            raise UsageError(
                f"no release is on {chosen.name} yet", remedy=f"edgekit deploy --service --device {chosen.name}"
            )
        # which runtime it is for is not told: the one that takes most will do for a bound
        runtimes = load.target(chosen.target, extra=(home.targets,)).runtimes
        most = max((one.ram_mb for one in runtimes.values()), default=0) << 20
        need = preflight.memory(current.size, most, current.memory)
        return install(agent, need, listen, token, report)


def serve_local(
    bundle: str | Path,
    *,
    socket: Path | None = None,
    listen: str = "",
    token_file: Path | None = None,
    home: Home | None = None,
    report: Report = quiet,
) -> Served:
    """Make a bundle ready to be served by this host, checked by the road that leads to a device; start the ``command``
    that it answers with.

    Args:
        socket: the Unix socket to listen on, instead of one below the home.
        listen, token_file: as for :func:`service`.

    Raises:
        BundleError: not signed by a trusted key, or damaged. RolledBack: this host's runtime gives other answers.
    """
    home = home or Home.default()
    token = read_token(token_file)
    folder = shelf.bundle(home, bundle, None)
    report(f"checking bundle {folder.name}", None)
    manifest, digest = verify(folder, home.keys / "trusted")
    root = home.served / digest[:12]
    path = socket or root / "service.sock"
    if len(os.fsencode(path)) > SOCKET_PATH:
        raise UsageError(
            "a socket's path is too long", given=str(path), allowed=f"{SOCKET_PATH} bytes", remedy="name one: --socket"
        )
    program = _install_here(
        root, folder, manifest, Blob(digest, (folder / "manifest.json").stat().st_size), home, report
    )
    command = [sys.executable, program, "--root", str(root), "serve", f"--socket={path}"]
    command += [f"--listen={listen}"] if listen else []
    command += [f"--token-file={token_file}"] if token else []
    return Served(digest, f"unix:{path}", f"http://{listen}" if listen else None, tuple(command))


def _install_here(root: Path, folder: Path, manifest: Manifest, manifest_file: Blob, home: Home, report: Report) -> str:
    """The bundle as the current release below ``root``, on this interpreter's own runtime; the agent's file."""
    with LocalTransport(root) as transport, Agent(transport, agent_file.build(home.cache), str(root)) as agent:
        wanted = deploy_plan.wanted(manifest, manifest_file, {})
        missing = agent.call("missing", wire.BlobList(tuple(wanted)), wire.Missing)
        now = agent.call("status", None, wire.Status)
        plan = deploy_plan.plan(now, missing, manifest, manifest_file, {}, "")
        if plan.steps:
            apply.apply(plan, agent, apply.files(folder, manifest, manifest_file), report)
        return agent.file
