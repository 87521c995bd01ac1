"""Carry the jobs of a benchmark out, one process after the other; a job that fails is a finding, not an end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from edgekit.benchmark import plan
from edgekit.errors import DeviceError, UsageError
from edgekit.spec.device import Device
from edgekit.spec.manifest import Manifest
from edgekit.spec.progress import Report, quiet
from edgekit.spec.result import Job, Result, Run
from edgekit.spec.target import Facts
from edgekit.spec.wire import Measure


def run(
    jobs: Sequence[Job],
    manifest: Manifest,
    *,
    bundle: str,
    device: Device,
    facts: Facts,
    runtimes: Mapping[str, str],
    measure: Callable[[Measure], Run],
    truth: Sequence[int],
    host_labels: Sequence[int] = (),
    versions: Mapping[str, str] | None = None,
    created: datetime | None = None,
    report: Report = quiet,
) -> Result:
    """Run ``jobs`` in their order and keep everything they gave.

    ``bundle`` is the bundle's digest; ``runtimes`` maps a format to the digest of the runtime folder it needs on the
    device, where all blobs must be already; ``measure`` carries one job out there. ``truth`` are the labels of the
    bundle's samples in their order, ``host_labels`` the optimized artifact's answers on the host for them.

    A DeviceError of one job becomes its run's failure; a lost connection (TransportError) ends the benchmark. Raises
    UsageError before anything runs where there are fewer samples than a job asks for, or a runtime is not named.
    """
    artifacts = {one.name: one for one in manifest.artifacts}
    for job in jobs:
        if job.samples > len(truth):
            raise UsageError(
                f"{job.solution} asks for more samples than the bundle holds",
                given=job.samples,
                allowed=f"1 to {len(truth)}",
                remedy="ask for fewer: --samples",
            )
        if artifacts[job.artifact].format not in runtimes:
            raise UsageError(f"no runtime is given for {job.artifact}", allowed=sorted(runtimes))
    runs = []
    for number, job in enumerate(jobs):
        report(f"measuring {job.solution}, {job.samples} texts ({number + 1} of {len(jobs)})", number / len(jobs))
        artifact = artifacts[job.artifact]
        answers = len(manifest.labels) or artifact.answers
        request = Measure(job, artifact, manifest.samples, runtimes[artifact.format], answers)
        try:
            runs.append(measure(request))
        except DeviceError as error:
            runs.append(Run(job, failure=error.message))
            report(f"{job.solution} failed: {error.message}", (number + 1) / len(jobs))
    report("measured", 1.0)
    longest = max((one.samples for one in jobs), default=0)
    counted = facts.counted_clock or (device.emulated is not None and device.emulated.clock == "counted")
    return Result(
        bundle=bundle,
        name=manifest.name,
        target=device.target,
        device=device.name,
        emulated=device.emulated is not None,
        clock="counted" if counted else "wall",
        created=(created or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        facts=facts,
        solutions=plan.solutions(manifest, tuple(jobs)),
        runs=tuple(runs),
        power="not measured" if any("pmic" in one for one in facts.sensors) else "not measured: no sensor",
        # how a text goes on nobody knows, and no one number is the truth of a text whose words are labelled
        truth=tuple(truth[:longest]) if manifest.labels and not manifest.optimized.tags else (),
        host_labels=tuple(host_labels[:longest]),
        versions=dict(versions if versions is not None else manifest.versions),
    )
