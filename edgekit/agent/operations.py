"""The operations of ``edgekit.spec.wire``, each a function of the session and its arguments."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterator, Optional, Set, Tuple

from edgekit.agent import facts, lock, log, measure, record, release, store, tasks
from edgekit.agent import generate as generating
from edgekit.agent.serve import Lines, Operation
from edgekit.agent.service import unit
from edgekit.agent.spawn import Child, ChildFailed
from edgekit.errors import DeviceError, ProtocolError
from edgekit.spec import wire
from edgekit.spec.progress import Report
from edgekit.spec.result import Run
from edgekit.spec.service import Manage
from edgekit.spec.target import Facts

#: A child that says nothing for this long hangs.
HEALTH_S = 600.0
PREDICT_S = 600.0
GENERATE_S = 3600.0
#: Texts that are handed to it at once: each time it has its time.
AT_ONCE = 64


@dataclass
class Session:
    """What one agent process holds: its root, the board it reads, the deploy lock, and a child that has loaded a model
    for predictions. ``host`` is where requests come from."""

    root: Path
    board: Path = Path("/")
    host: Optional[Lines] = None
    greeted: bool = False
    deploy_lock: Optional[int] = None
    predictor: Optional[Tuple[str, Child]] = None
    warmed: Set[Tuple[str, str]] = field(default_factory=set)

    def drop_lock(self) -> None:
        if self.deploy_lock is not None:
            lock.release(self.deploy_lock)
            self.deploy_lock = None

    def drop_predictor(self) -> None:
        if self.predictor is not None:
            self.predictor[1].end()
            self.predictor = None

    def end(self) -> None:
        """The host is gone: nothing runs on, and a release it left pending goes back at once."""
        self.drop_predictor()
        if self.deploy_lock is not None:
            try:
                release.recover(self.root)
            finally:
                self.drop_lock()


@contextlib.contextmanager
def _deploying(session: Session) -> Iterator[None]:
    """Hold the deploy lock, as long as this operation takes or as the session holds it already."""
    held = session.deploy_lock
    handle = lock.take_deploy(session.root) if held is None else held
    try:
        yield
    finally:
        if held is None:
            lock.release(handle)


def hello(session: Session, args: wire.Hello, report: Report) -> wire.HelloReply:
    if args.protocol != wire.PROTOCOL:
        raise ProtocolError(
            "the device's agent speaks another protocol",
            given=args.protocol,
            allowed=wire.PROTOCOL,
            remedy="let this version of edgekit send its own agent",
        )
    said = ""
    handle = lock.try_deploy(session.root) if session.deploy_lock is None else None
    if handle is not None:
        try:
            said = release.recover(session.root)
        finally:
            lock.release(handle)
    session.greeted = True
    return wire.HelloReply(wire.PROTOCOL, Path(sys.argv[0]).name, str(session.root), said)


def read_facts(session: Session, args: wire.Nothing, report: Report) -> Facts:
    return facts.read(session.root, session.board)


def missing(session: Session, args: wire.BlobList, report: Report) -> wire.Missing:
    return store.missing(session.root, args.blobs)


def commit(session: Session, args: wire.BlobList, report: Report) -> None:
    store.commit(session.root, args.blobs, report)


def unpack(session: Session, args: wire.Unpack, report: Report) -> None:
    store.unpack(session.root, args, report)


def stage(session: Session, args: wire.Stage, report: Report) -> None:
    with _deploying(session):
        release.stage(session.root, args, report)


def activate(session: Session, args: wire.ReleaseName, report: Report) -> None:
    """The lock stays with this session until the release is confirmed or rolled back, or the session ends."""
    if session.deploy_lock is None:
        session.deploy_lock = lock.take_deploy(session.root)
    session.drop_predictor()
    try:
        release.activate(session.root, args.release)
    finally:
        if not _pending(session.root):
            session.drop_lock()


def _pending(root: Path) -> bool:
    now = record.current(root)
    return now is not None and record.read(root, now).state == "pending"


def health(session: Session, args: wire.ReleaseName, report: Report) -> wire.Health:
    """The golden cases in a child; its crash is an answer. Raises DeviceError where there is no such release."""
    entry = record.read(session.root, args.release)
    manifest = record.manifest(session.root, args.release)
    golden = store.need(session.root, manifest.golden, "the golden cases")
    task = tasks.Check(measure.model(session.root, manifest.optimized, entry.setting.threads), str(golden))
    folder = store.runtime_folder(session.root, entry.runtime)
    try:
        with Child(folder, entry.setting, session.host) as child:
            found = child.ask("check", task, wire.Health, report, HEALTH_S)
    except ChildFailed as error:
        found = wire.Health(False, 0, 0, "the runtime died: " + error.message)
    log.write(session.root, "health", release=args.release, ok=found.ok, failure=found.failure)
    return found


def confirm(session: Session, args: wire.ReleaseName, report: Report) -> None:
    with _deploying(session):
        release.confirm(session.root, args.release)
    session.drop_lock()


def rollback(session: Session, args: wire.Rollback, report: Report) -> wire.Status:
    session.drop_predictor()
    with _deploying(session):
        release.rollback(session.root, args.to)
    session.drop_lock()
    return release.status(session.root)


def status(session: Session, args: wire.Nothing, report: Report) -> wire.Status:
    return _status(session)


def _status(session: Session) -> wire.Status:
    return replace(release.status(session.root), service=unit.state(session.root, unit.Manager()))


def service(session: Session, args: Manage, report: Report) -> wire.Status:
    """Install the service, or remove it. Raises DeviceError where nobody would start it."""
    manager = unit.Manager()
    if args.action == "check":
        unit.check(session.root, args, manager)
    elif args.action == "install":
        report("starting the service", None)
        unit.install(session.root, args, manager)
    elif args.action == "remove":
        unit.remove(session.root, manager)
    return _status(session)


def settle(session: Session, args: wire.Settle, report: Report) -> None:
    """A service loads it anew beside the one that answers."""
    with _deploying(session):
        release.settle(session.root, args.release, args.setting)
    session.drop_predictor()


def prune(session: Session, args: wire.Prune, report: Report) -> wire.Status:
    with _deploying(session):
        release.prune(session.root, args.keep)
    return release.status(session.root)


def predict(session: Session, args: wire.Predict, report: Report) -> wire.Predictions:
    """By the current release. Raises DeviceError where there is none, or its runtime dies."""
    now = record.current(session.root)
    if now is None:
        raise DeviceError("no release is current on this device", remedy="deploy one: edgekit deploy")
    manifest = record.manifest(session.root, now)
    threads = record.read(session.root, now).setting.threads
    model, child = measure.model(session.root, manifest.optimized, threads), _predictor(session, now)
    found: Tuple[wire.Prediction, ...] = ()
    for start in range(0, len(args.texts), AT_ONCE):
        if start:
            report("{} of {} texts".format(start, len(args.texts)), start / len(args.texts))
        task = tasks.Ask(model, args.texts[start : start + AT_ONCE], manifest.labels, args.top)
        try:
            found += child.ask("ask", task, tasks.Answers, report, PREDICT_S).predictions
        except ChildFailed:
            session.drop_predictor()
            raise
    log.write(session.root, "predicted", release=now, texts=len(args.texts))
    return wire.Predictions(now, manifest.optimized.name, found)


def generate(session: Session, args: wire.Generate, report: Report) -> wire.Generated:
    """By the current release, the text told piece by piece. Raises DeviceError where there is none, it was not made to
    generate, the prompt is too long for it, or its runtime dies."""
    now = record.current(session.root)
    if now is None:
        raise DeviceError("no release is current on this device", remedy="deploy one: edgekit deploy")
    artifact = record.manifest(session.root, now).optimized
    generating.check(artifact)
    task = tasks.Write(measure.model(session.root, artifact, record.read(session.root, now).setting.threads), args)
    # a child that refuses lives on, with its cache; a dead one is replaced by the next question
    found = _predictor(session, now).ask("write", task, wire.Generated, report, GENERATE_S)
    log.write(session.root, "generated", release=now, tokens=len(found.tokens))
    return replace(found, release=now, artifact=artifact.name)


def _predictor(session: Session, now: str) -> Child:
    """The child that has the current release loaded, from the last question or a new one."""
    if session.predictor is not None and session.predictor[0] == now and session.predictor[1].alive:
        return session.predictor[1]
    session.drop_predictor()
    entry = record.read(session.root, now)
    session.predictor = (now, Child(store.runtime_folder(session.root, entry.runtime), entry.setting, session.host))
    return session.predictor[1]


def run_measure(session: Session, args: wire.Measure, report: Report) -> Run:
    session.drop_predictor()
    folder = store.runtime_folder(session.root, args.runtime)
    kind = (args.runtime, args.artifact.format)
    if kind not in session.warmed:
        # caches bytecode; if the runtime cannot be loaded, the run itself will say so
        with contextlib.suppress(ChildFailed), Child(folder, host=session.host) as child:
            child.ask("warm", tasks.Warm(args.artifact.format), wire.Nothing, report, args.timeout_s)
        session.warmed.add(kind)
    return measure.run(session.root, args, folder, session.board, session.host, report)


def time_signatures(session: Session, args: wire.TimeSignatures, report: Report) -> wire.SignatureTimes:
    """Bare invocations, in a child of their own."""
    session.drop_predictor()
    folder = store.runtime_folder(session.root, args.runtime)
    return measure.signatures(session.root, args, folder, session.board, session.host, report)


def logs(session: Session, args: wire.Logs, report: Report) -> wire.LogLines:
    return wire.LogLines(log.tail(session.root, args.lines))


_OPERATIONS: Dict[str, Tuple[type, Callable[..., object]]] = {
    "hello": (wire.Hello, hello),
    "facts": (wire.Nothing, read_facts),
    "missing": (wire.BlobList, missing),
    "commit": (wire.BlobList, commit),
    "unpack": (wire.Unpack, unpack),
    "stage": (wire.Stage, stage),
    "activate": (wire.ReleaseName, activate),
    "health": (wire.ReleaseName, health),
    "confirm": (wire.ReleaseName, confirm),
    "rollback": (wire.Rollback, rollback),
    "status": (wire.Nothing, status),
    "settle": (wire.Settle, settle),
    "prune": (wire.Prune, prune),
    "predict": (wire.Predict, predict),
    "generate": (wire.Generate, generate),
    "measure": (wire.Measure, run_measure),
    "signatures": (wire.TimeSignatures, time_signatures),
    "service": (Manage, service),
    "logs": (wire.Logs, logs),
}


def operations(session: Session) -> Dict[str, Operation]:
    """By name, for this session; all but ``hello`` are refused before it."""
    return {name: Operation(args, partial(_run, session, name, run)) for name, (args, run) in _OPERATIONS.items()}


def _run(session: Session, name: str, run: Callable[..., object], args: object, report: Report) -> object:
    if name != "hello" and not session.greeted:
        raise ProtocolError("the first request must be 'hello'", given=name)
    return run(session, args, report)
