"""How a board runs a bundle's model best: every way is timed there, and the best one is kept for all of its kind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from edgekit import bundle as bundles
from edgekit import shelf
from edgekit.benchmark import sweep
from edgekit.bundle.verify import verify
from edgekit.deliver import apply
from edgekit.deliver import plan as deploy_plan
from edgekit.deliver.client import Agent
from edgekit.errors import DeviceError, UsageError
from edgekit.fieldwork import Board, choose
from edgekit.home import Home
from edgekit.spec import codec, wire
from edgekit.spec.device import Device
from edgekit.spec.manifest import Artifact, Blob
from edgekit.spec.progress import Report, quiet
from edgekit.spec.result import Job, Run
from edgekit.spec.setting import Setting, Tried, Tuning
from edgekit.spec.target import Facts

SAMPLES, ROUNDS = 64, 3


def tune(
    bundle: str | Path | None = None,
    *,
    target: str | None = None,
    device: str | None = None,
    samples: int = SAMPLES,
    rounds: int = ROUNDS,
    home: Home | None = None,
    report: Report = quiet,
) -> Tuning:
    """Time a bundle's model on a board with different numbers of threads and cores, in turns, and keep the best for its
    target: ``deploy`` settles it. Where the board has this release already, it runs so from now on.

    Raises:
        UsageError: nothing, or several, to choose from; no samples or rounds. DeviceError: it ran in no way.
        BundleError, PreflightError, TransportError: as :func:`edgekit.deploy`.
    """
    for given, what in ((samples, "samples"), (rounds, "rounds")):
        if given < 1:
            raise UsageError(f"too few {what}", given=given, allowed="1 or more")
    home = home or Home.default()
    chosen = choose(home, target=target, device=device)
    folder = shelf.bundle(home, bundle, chosen.target)
    manifest, digest = verify(folder, home.keys / "trusted")
    artifact, there = manifest.optimized, _lines(bundles.blob_file(folder, manifest.samples))
    count = min(samples, there)
    with Board(home, chosen, report) as board:
        ways = sweep.settings(board.agent.call("facts", None, Facts))
        runtime = board.runtime(artifact.format)
        sources = apply.files(folder, manifest, Blob(digest, (folder / "manifest.json").stat().st_size))
        apply.ship(board.agent, deploy_plan.bench_blobs(manifest), sources, report)
        answers = len(manifest.labels) or artifact.answers
        tried = _timed(board.agent, artifact, manifest.samples, runtime, answers, ways, count, rounds, report)
        best = sweep.choose(tried)
        found = Tuning(
            target=chosen.target,
            artifact=artifact.blob.sha256,
            device=chosen.name,
            emulated=chosen.emulated is not None,
            samples=count,
            rounds=rounds,
            tried=tried,
            chosen=best,
        )
        keep(home, chosen, artifact, found)
        settle(board.agent, digest, best)
    return found


def kept(home: Home, device: Device, artifact: Artifact) -> Setting | None:
    """What a sweep on a board of this device's kind chose for this artifact; ``None`` where there was none. Emulated
    boards and real ones know nothing of each other. Raises SpecError for a file that cannot be read."""
    file = _file(home, device, artifact)
    return codec.loads(Tuning, file.read_text("utf-8"), str(file)).chosen if file.is_file() else None


def settle(agent: Agent, release: str, setting: Setting) -> None:
    """Let the release run so from now on, where the board has it."""
    now = agent.call("status", None, wire.Status)
    if any(one.release == release and one.setting != setting for one in now.releases):
        agent.call("settle", wire.Settle(release, setting), wire.Nothing)


def _timed(
    agent: Agent,
    artifact: Artifact,
    samples: Blob,
    runtime: str,
    answers: int,
    ways: Sequence[Setting],
    count: int,
    rounds: int,
    report: Report,
) -> tuple[Tried, ...]:
    times: dict[Setting, list[float]] = {one: [] for one in ways}
    failures: dict[Setting, str] = {}
    for number in range(rounds):
        for place, way in enumerate(ways):
            if way in failures:
                continue
            done = (number * len(ways) + place) / (rounds * len(ways))
            report(f"{describe(way)}: {count} texts, round {number + 1} of {rounds}", done)
            job = Job("tuning", artifact.name, samples=count, threads=way.threads, cores=way.cores)
            try:
                run = agent.call("measure", wire.Measure(job, artifact, samples, runtime, answers), Run, report)
            except DeviceError as error:
                failures[way] = error.message
                continue
            if run.measured is None or run.invalid:
                failures[way] = run.failure or ", ".join(run.invalid)
            else:
                times[way] += run.measured.end_to_end
    report("timed", 1.0)
    return tuple(
        Tried(one, failure=failures[one]) if one in failures else Tried(one, median(times[one])) for one in ways
    )


def describe(setting: Setting) -> str:
    """``2 threads on cores 4, 5``."""
    threads = "1 thread" if setting.threads == 1 else f"{setting.threads} threads"
    return f"{threads} on cores {', '.join(map(str, setting.cores))}" if setting.cores else f"{threads} on any core"


def _file(home: Home, device: Device, artifact: Artifact) -> Path:
    kind = "-emulated" if device.emulated else ""
    return home.tunings / f"{device.target}{kind}-{artifact.blob.sha256[:24]}.json"


def keep(home: Home, device: Device, artifact: Artifact, found: Tuning) -> None:
    """Whole or not at all, in place of an earlier one."""
    file = _file(home, device, artifact)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(codec.dumps(found) + "\n", encoding="utf-8")
    os.replace(part, file)


def _lines(file: Path) -> int:
    with file.open(encoding="utf-8") as lines:
        return sum(1 for _ in lines)
