"""The devices a host knows: register, list, inspect, switch emulated ones on and off."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from edgekit import load
from edgekit.deliver import probe, registry
from edgekit.emulate import machine
from edgekit.errors import HostKeyError, SpecError, UsageError
from edgekit.fieldwork import choose, power_on, session
from edgekit.home import Home
from edgekit.outcome import Probe, ProbeRow
from edgekit.spec.device import Clock, Device
from edgekit.spec.progress import Report, quiet
from edgekit.spec.target import Facts, Target


def device_add(
    name: str,
    address: str,
    *,
    target: str,
    key_file: str | None = None,
    confirm: Callable[[str], bool],
    home: Home | None = None,
    report: Report = quiet,
) -> Device:
    """Register a board and pin its host key; ``confirm`` is shown the key's SHA256 fingerprint and decides.

    Raises:
        HostKeyError: the fingerprint was not confirmed. TransportError: the board does not answer.
        UsageError: the name is taken, the address is none, or the target's file lies outside the known folders.
    """
    # paramiko takes a moment to import
    from edgekit.deliver import connection, hostkeys, route

    home = home or Home.default()
    kind = _kept_target(home, target)
    where = route.parse_address(address)
    found = route.resolve(where, route.read_config())
    report(f"asking {found.text} for its host key", None)
    host_key = connection.host_key_of(found)
    fingerprint = hostkeys.fingerprint(host_key)
    if not confirm(fingerprint):
        raise HostKeyError("the host key was not confirmed: nothing was registered", given=fingerprint, where=address)
    file = str(Path(key_file).expanduser().resolve()) if key_file else None
    user = where.user or found.user
    port = where.port or found.port
    device = Device(
        name=name, target=kind.name, host=where.host, port=port, user=user, host_key=host_key, key_file=file
    )
    registry.add(home.devices, device)
    return device


def device_list(*, home: Home | None = None, report: Report = quiet) -> tuple[tuple[Device, str], ...]:
    """Registered devices with their state: emulated ones ``running`` or ``stopped``, real ones ``registered``."""
    home = home or Home.default()
    return tuple((one, _state(one)) for one in registry.list_devices(home.devices))


def device_probe(
    *, target: str | None = None, device: str | None = None, home: Home | None = None, report: Report = quiet
) -> Probe:
    """Read a live board and say which target fits, and where it differs from the one it is registered as."""
    home = home or Home.default()
    chosen = choose(home, target=target, device=device)
    with session(home, chosen, report) as agent:
        facts = agent.call("facts", None, Facts, report)
    match = probe.match(facts, load.targets(extra=(home.targets,)))
    rows = probe.compare(facts, load.target(chosen.target, extra=(home.targets,)))
    return Probe(
        device=chosen.name,
        facts=facts,
        fits=match.target.name if match else None,
        against=chosen.target,
        rows=tuple(ProbeRow(one.name, one.expected, one.found, one.fits) for one in rows),
    )


def device_up(
    target: str, *, name: str | None = None, clock: Clock = "wall", home: Home | None = None, report: Report = quiet
) -> Device:
    """Start an emulated board of a target, ready for SSH; its image is built once, its disk is kept."""
    home = home or Home.default()
    kind = _kept_target(home, target)
    return power_on(home, kind, name or kind.name, clock, report)


def device_down(
    name: str | None = None, *, every: bool = False, home: Home | None = None, report: Report = quiet
) -> tuple[str, ...]:
    """Stop an emulated board, or all of them; gives the names of those that were running."""
    home = home or Home.default()
    emulated = [one for one in registry.list_devices(home.devices) if one.emulated]
    if not every:
        if name is None and len(emulated) != 1:
            raise UsageError(
                "say which emulated board to stop", allowed=[one.name for one in emulated] or "none is registered"
            )
        emulated = [_emulated(home, name)] if name is not None else emulated
    stopped = []
    for one in emulated:
        assert one.emulated is not None
        folder = Path(one.emulated.folder)
        if machine.state(folder).status == "running":
            report(f"stopping {one.name}", None)
            stopped.append(one.name)
        machine.down(folder)
    return tuple(stopped)


def device_remove(name: str, *, home: Home | None = None, report: Report = quiet) -> str:
    """Forget a device, and delete the disk of an emulated one; a real board is not touched. Gives its name."""
    home = home or Home.default()
    known = registry.file_of(home.devices, name).exists()
    folder = home.boards / name
    if known:
        registry.remove(home.devices, name)
    elif not folder.is_dir():
        registry.get(home.devices, name)  # says that there is none, and what is near
    if folder.is_dir():
        machine.down(folder)
        shutil.rmtree(folder)
    return name


def device_ssh(name: str | None = None, *, home: Home | None = None, report: Report = quiet) -> tuple[str, ...]:
    """The ``ssh`` command line that opens a shell on a device, its host key pinned."""
    home = home or Home.default()
    device = choose(home, device=name)
    argv = ["ssh", "-p", str(device.port)]
    if device.emulated:
        argv += ["-F", "none"]  # what the user's config says of 127.0.0.1 is not meant for it
    if device.host_key:
        pinned = home.devices / f".{device.name}.known_hosts"
        pinned.write_text(f"{device.name} {device.host_key}\n")
        # by a name of ours: the config's HostName would have ssh look for the key under another
        argv += ["-o", f"HostKeyAlias={device.name}", "-o", f"UserKnownHostsFile={pinned}"]
        argv += ["-o", "StrictHostKeyChecking=yes"]
    if device.key_file:
        argv += ["-i", device.key_file, "-o", "IdentitiesOnly=yes"]
    return (*argv, f"{device.user}@{device.host}")


def _kept_target(home: Home, named: str) -> Target:
    """The target, which must be found again by its name: a device's file holds no more of it. Raises UsageError."""
    kind = load.target(named, extra=(home.targets,))
    try:
        known = load.target(kind.name, extra=(home.targets,))
    except SpecError:
        raise UsageError(
            f"a device's target must be among the known ones, {kind.name!r} is not",
            given=named,
            remedy=f"keep its file: mkdir -p {home.targets} && cp {named} {home.targets / kind.name}.yaml",
        ) from None
    if known != kind:
        raise UsageError(
            f"{kind.name!r} is the name of another known target", given=named, remedy="give it a name of its own"
        )
    return kind


def _state(device: Device) -> str:
    if device.emulated is None:
        return "registered"
    return "running" if machine.state(Path(device.emulated.folder)).status == "running" else "stopped"


def _emulated(home: Home, name: str) -> Device:
    device = registry.get(home.devices, name)
    if device.emulated is None:
        raise UsageError(f"{name} is a real board: edgekit does not switch it off", given=name)
    return device
