"""``edgekit device …``: register, inspect, start and stop boards."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from edgekit.cli.options import Parser, Verbs, add_device, home, verb
from edgekit.cli.paper import megabytes, table
from edgekit.errors import HostKeyError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Probe
    from edgekit.spec.device import Device


def add(verbs: Verbs) -> None:
    group = verbs.add_parser("device", help="register, inspect, start and stop boards")
    inner = group.add_subparsers(title="verbs", dest="device_verb", metavar="VERB", required=True, parser_class=Parser)

    adding = verb(inner, "add", "register a board and pin its host key", run_add, show_add)
    adding.add_argument("name", metavar="NAME", help="what to call it")
    adding.add_argument("address", metavar="[USER@]HOST[:PORT]", help="where it is; ~/.ssh/config is honoured")
    adding.add_argument(
        "--target", required=True, metavar="NAME", help="the kind of board: rpi4, rpi5, … (see 'edgekit targets')"
    )
    adding.add_argument("--key-file", type=Path, metavar="FILE", help="the private key to log in with")
    trust = adding.add_mutually_exclusive_group()
    trust.add_argument("--fingerprint", metavar="SHA256:…", help="accept the host key with this fingerprint only")
    trust.add_argument("--yes", action="store_true", help="accept whatever host key it shows")

    verb(inner, "list", "list the registered boards", run_list, show_list)
    add_device(verb(inner, "probe", "read a live board and say which target fits", run_probe, show_probe))

    up = verb(inner, "up", "start an emulated board", run_up, show_up)
    up.add_argument("target", metavar="TARGET", help="the kind of board to emulate")
    up.add_argument("--name", metavar="NAME", help="what to call it")
    up.add_argument(
        "--clock",
        choices=("wall", "counted"),
        default="wall",
        help="'counted' lets its clock count instructions, so that benchmarks repeat (default: wall)",
    )

    down = verb(inner, "down", "stop an emulated board", run_down, show_down)
    down.add_argument("name", nargs="?", metavar="NAME", help="which one; may be left out where one is running")
    down.add_argument("--all", dest="every", action="store_true", help="stop all of them")

    remove = verb(inner, "remove", "forget a board; an emulated one's disk goes too", run_remove, show_remove)
    remove.add_argument("name", metavar="NAME", help="a registered board")

    ssh = verb(inner, "ssh", "open a shell on a board", run_ssh, show_ssh)
    ssh.add_argument("name", metavar="NAME", help="a registered board")
    ssh.add_argument("command", nargs="*", metavar="COMMAND", help="what to run there instead (after '--')")


def run_add(args: Namespace, progress: Progress) -> Device:
    from edgekit import pipeline

    return pipeline.device_add(
        args.name,
        args.address,
        target=args.target,
        key_file=args.key_file,
        confirm=confirmation(args, progress.pause),
        home=home(args),
        report=progress,
    )


def confirmation(args: Namespace, pause: Callable[[], None]) -> Callable[[str], bool]:
    """Whether a host key's fingerprint is the right one: by ``--fingerprint``, by ``--yes``, or by asking."""

    def confirm(shown: str) -> bool:
        if args.fingerprint is not None:
            if shown != args.fingerprint:
                raise HostKeyError(
                    "the board shows another host key than the one named",
                    where=args.address,
                    given=shown,
                    allowed=args.fingerprint,
                    remedy="on the board: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
                )
            return True
        if args.yes:
            return True
        if not sys.stdin.isatty():
            raise UsageError(
                "nobody is here to confirm the host key",
                where=args.address,
                given=shown,
                remedy=f"compare it with the board's own, then: --fingerprint {shown}",
            )
        pause()
        print(f"{args.address} shows the host key {shown}", file=sys.stderr)
        print("Is that the board's? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return confirm


def show_add(args: Namespace, device: Device, paper: Console) -> None:
    paper.print(f"registered {device.name} ({device.address}) as {device.target}, host key pinned")


class Listed(TypedDict):
    """One registered board; ``state`` is running, stopped or registered (a real one: nobody asked it)."""

    device: Device
    state: str


def run_list(args: Namespace, progress: Progress) -> tuple[Listed, ...]:
    from edgekit import pipeline

    return tuple(
        Listed(device=device, state=state) for device, state in pipeline.device_list(home=home(args), report=progress)
    )


def show_list(args: Namespace, listed: tuple[Listed, ...], paper: Console) -> None:
    if not listed:
        paper.print("no board is registered: edgekit device add NAME pi@HOST --target rpi4, or edgekit device up rpi4")
        return
    rows = [
        (one["device"].name, one["device"].target, one["device"].address, _kind(one["device"]), one["state"])
        for one in listed
    ]
    paper.print(table("", ("name", "target", "address", "kind", "state"), rows))


def _kind(device: Device) -> str:
    if device.emulated is None:
        return "real"
    return "emulated, counted clock" if device.emulated.clock == "counted" else "emulated"


def run_probe(args: Namespace, progress: Progress) -> Probe:
    from edgekit import pipeline

    return pipeline.device_probe(target=args.target, device=args.device, home=home(args), report=progress)


def show_probe(args: Namespace, probe: Probe, paper: Console) -> None:
    rows = [(one.name, one.expected, one.found, "yes" if one.ok else "NO") for one in probe.rows]
    paper.print(table(f"{probe.device} against {probe.against}", ("what", "expected", "found", "fits"), rows))
    facts = probe.facts
    paper.print(
        f"{facts.model or 'unknown model'}, {facts.os or 'unknown system'}, memory {megabytes(facts.ram_total)}, "
        f"free disk {megabytes(facts.disk_free)}"
    )
    for name, value in sorted(facts.sensors.items()):
        paper.print(f"sensor {name}: {value:g}")
    paper.print(f"fits the target {probe.fits}" if probe.fits else "fits no known target")


def run_up(args: Namespace, progress: Progress) -> Device:
    from edgekit import pipeline

    return pipeline.device_up(args.target, name=args.name, clock=args.clock, home=home(args), report=progress)


def show_up(args: Namespace, device: Device, paper: Console) -> None:
    paper.print(f"{device.name} is up: an emulated {device.target} at {device.address} ({_kind(device)})")
    paper.print(f"  a shell on it: edgekit device ssh {device.name}")
    paper.print(f"  stop it:       edgekit device down {device.name}")


def run_down(args: Namespace, progress: Progress) -> tuple[str, ...]:
    from edgekit import pipeline

    if args.name and args.every:
        raise UsageError("name a board or stop all of them, not both", given=f"{args.name} --all")
    return pipeline.device_down(args.name, every=args.every, home=home(args), report=progress)


def show_down(args: Namespace, stopped: tuple[str, ...], paper: Console) -> None:
    paper.print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


def run_remove(args: Namespace, progress: Progress) -> str:
    from edgekit import pipeline

    return pipeline.device_remove(args.name, home=home(args), report=progress)


def show_remove(args: Namespace, name: str, paper: Console) -> None:
    paper.print(f"forgot {name}")


def run_ssh(args: Namespace, progress: Progress) -> tuple[str, ...]:
    from edgekit import pipeline

    return (*pipeline.device_ssh(args.name, home=home(args), report=progress), *args.command)


def show_ssh(args: Namespace, command: tuple[str, ...], paper: Console) -> None:
    """Become ssh: its exit code is ours."""
    sys.stdout.flush()
    os.execvp(command[0], command)
