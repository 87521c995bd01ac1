"""Do what a plan says. The device stays on its old release until the new one is whole, and goes back if it is sick."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Mapping
from pathlib import Path

from edgekit.bundle.folder import MANIFEST, blob_file, entries
from edgekit.deliver.client import Agent
from edgekit.deliver.plan import (
    Activate,
    CheckHealth,
    Confirm,
    Plan,
    Prune,
    Stage,
    Step,
    Unpack,
    Upload,
    uploads,
)
from edgekit.errors import BundleError, DeviceError, EdgekitError, RolledBack, SpecError, TransportError
from edgekit.spec import wire
from edgekit.spec.manifest import Blob, Manifest
from edgekit.spec.progress import Report, quiet

HEALTH_S = 900.0
#: Shares of the progress bar: sending takes most of it, whatever else there is shares the rest.
_SENDING = 0.8


def files(folder: Path, manifest: Manifest, manifest_file: Blob) -> dict[Blob, Path]:
    """Where each blob of a bundle lies on this host."""
    found = {one.blob: blob_file(folder, one.blob) for one in entries(manifest)}
    return {**found, manifest_file: folder / MANIFEST}


def apply(plan: Plan, agent: Agent, sources: Mapping[Blob, Path], report: Report = quiet) -> wire.Health | None:
    """Take the plan's steps; ``sources`` says where each blob lies here. Returns what the health check found.

    Raises RolledBack where the release fails its health check: the device is back on the one before. Raises
    TransportError when the connection is cut: the device is, or at the agent's next start goes, back on the old one.
    """
    send(plan.uploads, agent, sources, lambda message, done: report(message, _SENDING * (done or 0.0)))
    rest = [one for one in plan.steps if not isinstance(one, Upload)]
    health: wire.Health | None = None
    for number, step in enumerate(rest):
        start = _SENDING + (1 - _SENDING) * number / len(rest)
        report(step.describe(), start)
        health = _take(step, agent, _within(report, start, (1 - _SENDING) / len(rest))) or health
    report("done", 1.0)
    return health


def ship(agent: Agent, names: Mapping[Blob, str], sources: Mapping[Blob, Path], report: Report = quiet) -> int:
    """Bring blobs into the device's store without a release, for benchmarks; returns the bytes that travelled."""
    missing = agent.call("missing", wire.BlobList(tuple(names)), wire.Missing)
    wanted = uploads(names, missing)
    send(wanted, agent, sources, report)
    return sum(one.bytes_left for one in wanted)


def send(wanted: tuple[Upload, ...], agent: Agent, sources: Mapping[Blob, Path], report: Report = quiet) -> None:
    """Upload to ``incoming/<sha256>.part`` and have each verified and taken in; a cut one is resumed later."""
    total = sum(one.bytes_left for one in wanted)
    incoming = posixpath.join(agent.hello.root, "incoming")
    before = 0
    begun = time.monotonic()
    for one in wanted:
        base = before

        def tell(_: str, fraction: float | None, one: Upload = one, base: int = base) -> None:
            done = base + max(0, int(one.blob.size * (fraction or 0.0)) - one.offset)
            speed = done / 1e6 / max(time.monotonic() - begun, 1e-3)
            report(
                f"uploading {one.name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB, {speed:.1f} MB/s",
                done / max(total, 1),
            )

        _send_one(one, agent, _source(one.blob, sources), incoming, tell)
        before += one.bytes_left


def _send_one(one: Upload, agent: Agent, source: Path, incoming: str, tell: Report) -> None:
    remote = posixpath.join(incoming, one.blob.sha256 + ".part")
    blobs = wire.BlobList((one.blob,))
    agent.transport.put(source, remote, one.offset, tell)
    try:
        agent.call("commit", blobs, wire.Nothing)
    except BundleError:
        if not one.offset:
            raise
        # the part that was there did not belong to this blob, or a power cut damaged it: once more, from the start
        agent.transport.put(source, remote, 0, tell)
        agent.call("commit", blobs, wire.Nothing)


def _source(blob: Blob, sources: Mapping[Blob, Path]) -> Path:
    file = sources.get(blob)
    if file is None or not file.is_file():
        raise BundleError(
            "a blob is missing from the bundle", given=blob.sha256, remedy="build the bundle again, or copy it whole"
        )
    if file.stat().st_size != blob.size:
        raise BundleError(
            "a blob is damaged", where=str(file), given=f"{file.stat().st_size} bytes", allowed=f"{blob.size} bytes"
        )
    return file


def _take(step: Step, agent: Agent, report: Report) -> wire.Health | None:
    match step:
        case Unpack():
            agent.call("unpack", wire.Unpack(step.runtime, step.wheels), wire.Nothing, report)
        case Stage():
            agent.call("stage", wire.Stage(step.release, step.manifest, step.blobs, step.runtime), wire.Nothing, report)
        case Activate():
            agent.call("activate", wire.ReleaseName(step.release), wire.Nothing, report)
        case CheckHealth():
            return _check_health(step.release, agent, report)
        case Confirm():
            agent.call("confirm", wire.ReleaseName(step.release), wire.Nothing, report)
        case Prune():
            agent.call("prune", wire.Prune(step.keep), wire.Status, report)
        case Upload():
            raise AssertionError("uploads come first")
    return None


def _check_health(release: str, agent: Agent, report: Report) -> wire.Health:
    try:
        health = agent.call("health", wire.ReleaseName(release), wire.Health, report, HEALTH_S)
        if health.ok:
            return health
        failure = health.failure or f"{health.agreed} of {health.cases} golden cases agreed"
    except (DeviceError, SpecError) as error:
        failure = error.message
    where = agent.transport.address
    try:
        status = agent.call("rollback", wire.Rollback(), wire.Status)
    except TransportError:
        raise
    except EdgekitError as error:
        raise RolledBack(
            f"the release failed its health check ({failure}), and going back failed too: {error.message}",
            where=where,
            given=release,
            remedy="connect again: the agent recovers at its start; then see 'edgekit status' and 'edgekit logs'",
        ) from error
    now = f"release {status.current[:12]}" if status.current else "no release: there was none before"
    raise RolledBack(
        f"the release failed its health check: {failure}",
        where=where,
        given=release,
        remedy=f"the device is back on {now}; 'edgekit logs' has what the runtime said",
    )


def _within(report: Report, start: float, share: float) -> Report:
    """A report for one step, as a part of the whole."""

    def tell(message: str, fraction: float | None = None) -> None:
        report(message, start + share * fraction if fraction is not None else start)

    return tell
