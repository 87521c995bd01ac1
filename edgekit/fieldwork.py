"""Work on live boards: choose one, open a session, ask it things."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from edgekit import load
from edgekit.deliver import agent_file, apply, connect, preflight, registry, wheels
from edgekit.deliver.client import Agent
from edgekit.deliver.transport import Transport
from edgekit.emulate import apt, image, machine
from edgekit.errors import UsageError, nearest
from edgekit.home import Home
from edgekit.spec import codec, wire
from edgekit.spec.device import Clock, Device, Emulated
from edgekit.spec.progress import Report, quiet
from edgekit.spec.target import Facts, Target
from edgekit.stages import code_digest

T = TypeVar("T")


def registered(home: Home, target: str | None = None) -> tuple[Device, ...]:
    """The registered devices of a target, or all of them."""
    return tuple(one for one in registry.list_devices(home.devices) if target in (None, one.target))


def choose(home: Home, *, target: str | None = None, device: str | None = None) -> Device:
    """The device that is meant: by name, by ``user@host[:port]``, or the only registered one of a target.

    Raises:
        UsageError: none or several fit; the message says how to choose.
    """
    if target is not None:
        # a file stands for its target's name; a mistyped one is told before a missing device
        target = load.target(target, extra=(home.targets,)).name
    if device is not None:
        return _named(registered(home), device, target)
    fitting = registered(home, target)
    if len(fitting) == 1:
        return fitting[0]
    kind = f" of target {target}" if target else ""
    if fitting:
        raise UsageError(
            f"several devices{kind} are registered",
            allowed=[one.name for one in fitting],
            remedy=f"name one: --device {fitting[0].name}",
        )
    raise UsageError(
        f"no device{kind} is registered",
        remedy=f"register a board: edgekit device add NAME pi@HOST --target {target or 'rpi4'}; "
        f"or start an emulated one: edgekit device up {target or 'rpi4'}",
    )


def _named(known: Sequence[Device], device: str, target: str | None) -> Device:
    for one in known:
        if device in (one.name, one.address, f"{one.user}@{one.host}"):
            if target not in (None, one.target):
                raise UsageError(f"device {one.name} is registered as {one.target}", given=target, allowed=one.target)
            return one
    raise UsageError(
        f"no device {device!r} is registered",
        given=device,
        remedy=nearest(device, [one.name for one in known])
        + "; a board is registered once, so that its host key is pinned: edgekit device add NAME pi@HOST --target …",
    )


def power_on(home: Home, target: Target, name: str, clock: Clock, report: Report = quiet) -> Device:
    """Start the emulated board ``name`` (its disk is kept from last time) and register it.

    A board that runs with the other clock is taken down first: the clock is chosen at power-on.
    """
    registry.file_of(home.devices, name)  # a name that cannot be registered is told before anything starts
    folder = home.boards / name
    for one in registry.list_devices(home.devices):
        if one.name == name and (one.emulated is None or one.target != target.name):
            kind = "an emulated " + one.target if one.emulated else f"a real board at {one.address}"
            raise UsageError(f"the name {name!r} is taken by {kind}", remedy="choose another: --name NAME")
    now = machine.state(folder)
    if now.status == "running" and now.clock != clock:
        report(f"restarting the emulated board {name} with the {clock} clock", None)
        machine.down(folder)
    disk = image.build(target, home.cache, report)
    running = machine.up(target, disk, folder, clock=clock, report=report)
    device = Device(
        name=name,
        target=target.name,
        host="127.0.0.1",
        port=running.port,
        user=running.user,
        host_key=running.host_key,
        key_file=str(running.key_file),
        emulated=Emulated(str(folder), running.pid, clock),
    )
    try:
        registry.add(home.devices, device, replace=True)
    except BaseException:
        machine.down(folder)
        raise
    return device


def steady(home: Home, device: Device, report: Report = quiet) -> Device:
    """The device as benchmarks need it: an emulated board runs with the counting clock, for its wall clock is the
    host's load; a real one is as it is."""
    if device.emulated is None:
        return device
    return power_on(home, load.target(device.target, extra=(home.targets,)), device.name, "counted", report)


@contextmanager
def agent_over(home: Home, transport: Transport) -> Iterator[Agent]:
    """An agent at the other end of a transport; both are closed at the end, whatever happens."""
    with transport, Agent(transport, agent_file.build(home.cache)) as agent:
        yield agent


@contextmanager
def session(home: Home, device: Device, report: Report = quiet) -> Iterator[Agent]:
    """An agent on the device, shipped if it is not there yet."""
    if device.emulated and machine.state(Path(device.emulated.folder)).status != "running":
        raise UsageError(
            f"the emulated board {device.name} is not running",
            remedy=f"edgekit device up {device.target} --name {device.name}",
        )
    report(f"connecting to {device.name} ({device.address})", None)
    with agent_over(home, connect(device)) as agent:
        if agent.hello.recovered:
            report(f"{device.name}: {agent.hello.recovered}", None)
        yield agent


def runtime_wheels(home: Home, target: Target, form: str, report: Report = quiet) -> tuple[Path, ...]:
    """The wheels of the runtime that runs a format on a target, fetched once. Raises PreflightError where none does."""
    runtime = preflight.runtime_for(target, form)
    return wheels.resolve(target, runtime, home.cache, report, archives=apt.mirrors)


class Board:
    """A device that is switched on, connected and given its runtime when it is first needed, and not before.

    What it switched on is switched off at the end.
    """

    def __init__(self, home: Home, device: Device, report: Report = quiet) -> None:
        self.home, self.device, self.report = home, device, report
        self.target = load.target(device.target, extra=(home.targets,))
        self._stack = ExitStack()
        self._agent: Agent | None = None

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def repeatable(self) -> bool:
        """Whether the same measurement gives the same figures again."""
        return self.device.emulated is not None

    @property
    def identity(self) -> dict[str, str]:
        """What the figures of a repeatable board depend on."""
        return {"target": codec.digest(self.target), "clock": "counted", "emulator": code_digest("emulate")}

    @property
    def agent(self) -> Agent:
        if self._agent is None:
            emulated = self.device.emulated
            if emulated is not None and machine.state(Path(emulated.folder)).status != "running":
                self._stack.callback(machine.down, Path(emulated.folder))
            self.device = steady(self.home, self.device, self.report)
            agent = self._stack.enter_context(session(self.home, self.device, self.report))
            preflight.fits(agent.call("facts", None, Facts), self.target, where=self.device.name)
            self._agent = agent
        return self._agent

    def runtime(self, form: str) -> str:
        """Have the runtime for a format on the board: the host fetches the wheels, the board unpacks. Its digest."""
        blobs = wheels.blobs(runtime_wheels(self.home, self.target, form, self.report))
        names = {blob: file.name for blob, file in blobs.items()}
        apply.ship(self.agent, names, blobs, self.report)
        digest = wheels.digest(blobs)
        self.agent.call("unpack", wire.Unpack(digest, tuple(blobs)), dict, self.report)
        return digest


def ask(
    op: str, args: Any, reply: type[T], home: Home | None, target: str | None, device: str | None, report: Report
) -> T:
    """One question to the chosen device."""
    home = home or Home.default()
    with session(home, choose(home, target=target, device=device), report) as agent:
        return agent.call(op, args, reply, report)


def status(
    *, target: str | None = None, device: str | None = None, home: Home | None = None, report: Report = quiet
) -> wire.Status:
    """The releases on a device, newest first."""
    return ask("status", None, wire.Status, home, target, device, report)


def rollback(
    *,
    target: str | None = None,
    device: str | None = None,
    to: str | None = None,
    home: Home | None = None,
    report: Report = quiet,
) -> wire.Status:
    """Go back to the release before, or to the one named."""
    return ask("rollback", wire.Rollback(to), wire.Status, home, target, device, report)


def prune_releases(
    *,
    target: str | None = None,
    device: str | None = None,
    keep: int = 3,
    home: Home | None = None,
    report: Report = quiet,
) -> wire.Status:
    """Drop old releases and what only they used; never the current one nor the one before it."""
    return ask("prune", wire.Prune(keep), wire.Status, home, target, device, report)


def logs(
    *,
    target: str | None = None,
    device: str | None = None,
    lines: int = 100,
    home: Home | None = None,
    report: Report = quiet,
) -> wire.LogLines:
    """The agent's own log, newest last."""
    return ask("logs", wire.Logs(lines), wire.LogLines, home, target, device, report)


def predict_there(
    texts: Sequence[str],
    *,
    target: str | None = None,
    device: str | None = None,
    top: int = 3,
    home: Home | None = None,
    report: Report = quiet,
) -> wire.Predictions:
    """Answers of the deployed release, from the device."""
    return ask("predict", wire.Predict(tuple(texts), top), wire.Predictions, home, target, device, report)


def generate_there(
    asked: wire.Generate,
    *,
    target: str | None = None,
    device: str | None = None,
    tell: Callable[[str], None] | None = None,
    home: Home | None = None,
    report: Report = quiet,
) -> wire.Generated:
    """A text by the deployed language model, on the device; ``tell`` hears its pieces."""

    def heard(message: str, fraction: float | None = None) -> None:
        if fraction is None:
            report(message, None)
        elif tell is not None:
            tell(message)

    home = home or Home.default()
    with session(home, choose(home, target=target, device=device), report) as agent:
        return agent.call("generate", asked, wire.Generated, heard)
