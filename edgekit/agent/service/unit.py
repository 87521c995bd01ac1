"""The service as a systemd unit: of the system where the agent is root, else of its user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from edgekit.agent import files, log
from edgekit.agent.service import flags, sockets
from edgekit.agent.service.loaded import ANSWER_S, LOAD_S
from edgekit.errors import DeviceError, EdgekitError, SpecError, UsageError
from edgekit.spec import codec
from edgekit.spec.service import Answering, Manage, Options, ServiceState

NAME = "edgekit.service"
TOKEN = "service.token"
OPTIONS = "service.json"
#: There where systemd is the system's first process.
BOOTED = Path("/run/systemd/system")
#: systemd may be busy with other units, or wait for the old process to answer what it was asked.
SYSTEMCTL_S = 120.0
#: How long a service may take to start: until its release is loaded. ``systemctl restart`` waits for that.
START_S = LOAD_S + 60
_SHARED = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
UMask=0077
Environment=MALLOC_ARENA_MAX=2
"""
#: What a user's manager cannot do everywhere: it takes namespaces, or capabilities.
_SYSTEM = """\
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={root}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictNamespaces=yes
SystemCallFilter=@system-service
"""


def render(root: Path, argv: Sequence[str], memory_max: int, user: Optional[str]) -> str:
    """The unit's text; ``user`` it runs as in the system's manager, ``None`` in a user's own."""
    lines = [
        "[Unit]",
        "Description=edgekit: answers of the deployed release",
        "StartLimitIntervalSec=300",
        "StartLimitBurst=10",
        "",
        "[Service]",
        "Type=notify",
        "ExecStart=" + " ".join(_quoted(one) for one in argv),
        "TimeoutStartSec={:.0f}".format(START_S),
        "TimeoutStopSec=60",
        "WatchdogSec={:.0f}".format(2 * ANSWER_S),
        "Restart=on-failure",
        "RestartSec=2",
    ]
    if memory_max:
        lines.append("MemoryMax={}".format(memory_max))
    if user is not None:
        lines.append("User={}".format(user))
    text = "\n".join(lines) + "\n" + _SHARED
    if user is not None:
        text += _SYSTEM.format(root=_quoted(str(root)))
    return text + "\n[Install]\nWantedBy={}\n".format("multi-user.target" if user is not None else "default.target")


def _quoted(text: str) -> str:
    """One argument as systemd reads it. Raises UsageError for what it cannot hold."""
    if not text.isprintable():
        raise UsageError("not for a unit file", given=repr(text), allowed="printable characters")
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return '"{}"'.format(plain) if any(one in plain for one in " \t'\";") or not plain else plain


class Manager:
    """systemd's manager of the system, or of this user. ``folder`` is where units stand."""

    def __init__(self, system: Optional[bool] = None) -> None:
        self.system = os.geteuid() == 0 if system is None else system
        config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        self.folder = Path("/etc/systemd/system") if self.system else Path(config) / "systemd/user"

    @property
    def unit(self) -> Path:
        return self.folder / NAME

    def call(self, *words: str) -> str:
        """What ``systemctl`` says. Raises DeviceError where it fails, or is not there."""
        done = self._run(*words)
        if done.returncode:
            raise DeviceError(
                "systemd refuses: {}".format(
                    (done.stderr or done.stdout).strip() or "status {}".format(done.returncode)
                ),
                given="systemctl " + " ".join(words),
                remedy="on the device: journalctl {}-u {} -n 20".format("" if self.system else "--user ", NAME),
            )
        return done.stdout.strip()

    def active(self) -> str:
        return self._run("is-active", NAME).stdout.strip() or "unknown"

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        scope = [] if self.system else ["--user"]
        own = "/run/user/{}".format(os.getuid())
        environment = dict(os.environ)
        # a session over SSH without PAM lacks it
        if not self.system and not environment.get("XDG_RUNTIME_DIR") and os.path.isdir(own):
            environment["XDG_RUNTIME_DIR"] = own
        try:
            return subprocess.run(
                ["systemctl", *scope, "--no-pager", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                universal_newlines=True,
                timeout=SYSTEMCTL_S + (START_S if words[0] == "restart" else 0.0),
                env=environment,
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError("systemd does not answer", given=" ".join(words)) from error
        except OSError as error:
            raise DeviceError("there is no systemd on this device: {}".format(error.strerror)) from error

    def need(self, root: Path) -> None:
        """Raises DeviceError, with the way without it, where systemd does not run here."""
        if BOOTED.is_dir() and shutil.which("systemctl"):
            return
        raise DeviceError(
            "there is no systemd on this device to start the service",
            remedy="start it there by other means: {} {} --root {} serve".format(
                sys.executable, os.path.abspath(sys.argv[0]), root
            ),
        )


def check(root: Path, request: Manage, manager: Manager) -> None:
    """Raises DeviceError where there is no systemd, UsageError for options that no service could have."""
    manager.need(root)
    if request.token is not None:
        sockets.check_token(request.token, "the token")
    if request.options.listen:
        sockets.check(request.options.listen, request.token is not None)


def install(root: Path, request: Manage, manager: Manager) -> None:
    """Write the unit and (re)start it. A service that runs answers what it was asked before it ends. Raises what
    :func:`check` does, and DeviceError where systemd refuses."""
    check(root, request, manager)
    options = _with_token(root, request)
    argv = [sys.executable, os.path.abspath(sys.argv[0]), "--root", str(root), "serve", *flags.arguments(options)]
    user = pwd.getpwuid(root.stat().st_uid).pw_name if manager.system else None
    text = render(root, argv, request.memory_max, user)
    manager.folder.mkdir(parents=True, exist_ok=True)
    files.write(root / OPTIONS, codec.dumps(options))
    files.write(manager.unit, text)
    os.chmod(manager.unit, 0o644)
    manager.call("daemon-reload")
    manager.call("enable", NAME)
    manager.call("restart", NAME)
    log.write(root, "service installed", unit=str(manager.unit), listen=options.listen)


def _with_token(root: Path, request: Manage) -> Options:
    """The options, with the token's file where a token was sent; an old one goes."""
    path = root / TOKEN
    if request.token is None:
        if path.exists():
            path.unlink()
        return request.options
    files.write(path, request.token + "\n")
    return codec.decode(Options, {**codec.encode(request.options), "token_file": str(path)})


def remove(root: Path, manager: Manager) -> None:
    """Stop the service and take its unit away; nothing where there is none."""
    if not manager.unit.exists():
        return
    manager.need(root)
    manager.call("disable", "--now", NAME)
    manager.unit.unlink()
    files.sync(manager.folder)
    for name in (TOKEN, OPTIONS):
        if (root / name).exists():
            (root / name).unlink()
    manager.call("daemon-reload")
    log.write(root, "service removed", unit=str(manager.unit))


def state(root: Path, manager: Manager) -> Optional[ServiceState]:
    """Of the service that is installed; ``None`` where none is."""
    if not manager.unit.exists():
        return None
    try:
        active = manager.active()
    except EdgekitError as error:
        active = error.message
    options = _options(root)
    path = flags.socket_of(root, options)
    return ServiceState(
        unit=str(manager.unit),
        scope="system" if manager.system else "user",
        active=active,
        socket=str(path),
        listen=options.listen,
        answering=ask(path),
        notes=_notes(manager),
    )


def _options(root: Path) -> Options:
    try:
        return codec.loads(Options, (root / OPTIONS).read_bytes())
    except (OSError, SpecError):
        return Options()


def _notes(manager: Manager) -> Tuple[str, ...]:
    """A user's manager ends with the user's last session, unless it lingers."""
    user = pwd.getpwuid(os.getuid()).pw_name
    if manager.system or os.path.exists("/var/lib/systemd/linger/" + user):
        return ()
    return (
        "it ends when {0} logs out and does not start at boot: on the device, 'sudo loginctl enable-linger {0}'".format(
            user
        ),
    )


def ask(path: Path) -> Optional[Answering]:
    """What the service at this socket says of itself; ``None`` where nobody answers."""
    parts: List[bytes] = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(5.0)
            asking.connect(str(path))
            asking.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            data = asking.recv(1 << 16)
            while data:
                parts.append(data)
                data = asking.recv(1 << 16)
        return codec.decode(Answering, json.loads(b"".join(parts).partition(b"\r\n\r\n")[2].decode("utf-8")))
    except (OSError, ValueError, SpecError):
        return None
