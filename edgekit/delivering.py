"""A deploy: a bundle made ready once, and given to one device or to many."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgekit import load, serving, tuning
from edgekit.bundle.folder import MANIFEST
from edgekit.bundle.verify import verify
from edgekit.deliver import apply, preflight, wheels
from edgekit.deliver import plan as deploy_plan
from edgekit.deliver.client import Agent
from edgekit.fieldwork import runtime_wheels, session
from edgekit.home import Home
from edgekit.outcome import Deployed
from edgekit.spec import wire
from edgekit.spec.device import Device
from edgekit.spec.manifest import Blob, Manifest
from edgekit.spec.progress import Report, quiet
from edgekit.spec.target import Facts, Target


@dataclass(frozen=True)
class Cargo:
    """What travels to every device of a target: a bundle whose signature and blobs were checked, and the ``wheels`` of
    the runtime it ships on. ``manifest_file`` is the blob of its manifest, by whose hash the release is named."""

    folder: Path
    target: Target
    manifest: Manifest
    manifest_file: Blob
    wheels: dict[Blob, Path]

    @property
    def release(self) -> str:
        return self.manifest_file.sha256

    @property
    def runtime(self) -> str:
        """The digest of the runtime's wheels."""
        return wheels.digest(self.wheels)

    @property
    def names(self) -> dict[Blob, str]:
        """What each wheel is to a person."""
        return {blob: file.name for blob, file in self.wheels.items()}

    @property
    def sources(self) -> dict[Blob, Path]:
        """Where each blob lies on this host."""
        return {**apply.files(self.folder, self.manifest, self.manifest_file), **self.wheels}


@dataclass(frozen=True)
class Wishes:
    """What is asked of a deploy besides the bundle. ``token`` is the bearer token for ``listen``, never shown."""

    dry_run: bool = False
    service: bool = False
    listen: str = ""
    token: str | None = field(default=None, repr=False)


def load_cargo(home: Home, folder: Path, target: str, report: Report = quiet) -> Cargo:
    """Check a bundle and have its runtime's wheels, once for however many devices.

    Raises BundleError where it is not signed by a trusted key, or damaged; PreflightError where the target runs no such
    format.
    """
    report(f"checking bundle {folder.name}", None)
    manifest, digest = verify(folder, home.keys / "trusted")
    kind = load.target(target, extra=(home.targets,))
    files = wheels.blobs(runtime_wheels(home, kind, manifest.optimized.format, report))
    return Cargo(folder, kind, manifest, Blob(digest, (folder / MANIFEST).stat().st_size), dict(files))


def deliver(home: Home, device: Device, cargo: Cargo, wishes: Wishes, report: Report = quiet) -> Deployed:
    """Send what the device lacks, switch, check its health there, confirm or go back.

    Raises PreflightError, TransportError and RolledBack as :func:`edgekit.pipeline.deploy`.
    """
    begun = time.monotonic()
    with session(home, device, report) as agent:
        done = _deliver(home, device, agent, cargo, wishes, report)
    return replace(done, seconds=time.monotonic() - begun)


def _deliver(home: Home, device: Device, agent: Agent, cargo: Cargo, wishes: Wishes, report: Report) -> Deployed:
    if wishes.service:
        serving.check(agent, wishes.listen, wishes.token)
    plan = _planned(agent, cargo, device.name, report)
    done = Deployed(device.name, cargo.folder, cargo.release, plan.describe(), wishes.dry_run, already=not plan.steps)
    if wishes.dry_run:
        return done
    if plan.steps:
        health = apply.apply(plan, agent, cargo.sources, report)
        done = replace(done, health=health, sent_bytes=plan.bytes_left)
    tuned = tuning.kept(home, device, cargo.manifest.optimized)
    if tuned is not None:
        tuning.settle(agent, cargo.release, tuned)
    if wishes.service:
        now = serving.install(agent, _memory(cargo), wishes.listen, wishes.token, report)
        done = replace(done, service=now.service)
    return done


def _planned(agent: Agent, cargo: Cargo, where: str, report: Report) -> deploy_plan.Plan:
    """What is left to do there. Raises PreflightError where the device cannot take it."""
    facts = agent.call("facts", None, Facts)
    wanted = deploy_plan.wanted(cargo.manifest, cargo.manifest_file, cargo.names)
    missing = agent.call("missing", wire.BlobList(tuple(wanted)), wire.Missing)
    now = agent.call("status", None, wire.Status)
    plan = deploy_plan.plan(now, missing, cargo.manifest, cargo.manifest_file, cargo.names, cargo.runtime)
    need = deploy_plan.disk_need(plan, wheels.unpacked_size(cargo.wheels.values()))
    for oddity in preflight.check(facts, cargo.target, cargo.manifest, need=need, host_time=time.time(), where=where):
        report(oddity, None)
    return plan


def _memory(cargo: Cargo) -> int:
    """Bytes the release takes there, as preflight reckons."""
    shipped = cargo.manifest.optimized
    runtime = cargo.target.runtimes[preflight.runtime_for(cargo.target, shipped.format)].ram_mb << 20
    return preflight.memory(shipped.blob.size, runtime, shipped.memory)
