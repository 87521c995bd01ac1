"""One benchmark run: one child process, and what the board said before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Optional, Tuple

from edgekit.agent import log, sensors, store, tasks, work
from edgekit.agent.serve import Lines
from edgekit.agent.spawn import Child, ChildFailed
from edgekit.errors import DeviceError
from edgekit.spec import wire
from edgekit.spec.manifest import Artifact
from edgekit.spec.progress import Report, quiet
from edgekit.spec.result import Measured, Run
from edgekit.spec.setting import Setting
from edgekit.spec.task import CLASSIFY, LANGUAGE

#: Tasks that answer a text with one of so many.
_CHOOSING = (CLASSIFY, LANGUAGE)


def model(root: Path, artifact: Artifact, threads: int = 1) -> tasks.Model:
    """The artifact as a child needs it. Raises DeviceError where the store lacks its blobs."""
    return tasks.Model(
        format=artifact.format,
        file=str(store.need(root, artifact.blob, "the model")),
        tokenizer=str(store.need(root, artifact.tokenizer, "the tokenizer")),
        lengths=artifact.lengths,
        threads=threads,
        dynamic=artifact.dynamic,
        temperature=artifact.sureness.temperature if artifact.sureness else 1.0,
        unsure_below=artifact.sureness.unsure_below if artifact.sureness else 0.0,
        task=artifact.task,
        tags=artifact.tags,
        windows=artifact.windows,
    )


def run(
    root: Path,
    request: wire.Measure,
    runtime: Optional[Path],
    board: Path = Path("/"),
    host: Optional[Lines] = None,
    report: Report = quiet,
) -> Run:
    """Measure. A runtime that dies is the run's ``failure``; a request that cannot be met raises DeviceError."""
    job, artifact = request.job, request.artifact
    samples = str(store.need(root, request.samples, "the samples"))
    work.sample_texts(samples, job.samples)
    if job.pad_to is not None and job.pad_to not in artifact.lengths:
        raise DeviceError("the model has no such length", given=job.pad_to, allowed=artifact.lengths)
    task = tasks.Timing(model(root, artifact, job.threads), samples, job.samples, job.warmup, job.pad_to)
    before, swapped = sensors.read(board), sensors.swapped_in(board)
    measured, failure = None, None
    try:
        with Child(runtime, Setting(job.threads, job.cores), host) as child:
            measured = child.ask("time", task, Measured, report, request.timeout_s)
    except ChildFailed as error:
        failure = error.message
    after, swapped = sensors.read(board), sensors.swapped_in(board) - swapped
    chosen = measured.labels if measured is not None and artifact.task in _CHOOSING else ()
    if not all(0 <= one < request.labels for one in chosen):
        measured, failure = None, "the model answers a class beyond the {} there are".format(request.labels)
    invalid = _invalid(before, after, swapped)
    readings = {"before_" + name: value for name, value in before.items()}
    readings.update({"after_" + name: value for name, value in after.items()})
    log.write(root, "measured", artifact=artifact.name, solution=job.solution, failure=failure, invalid=invalid)
    return Run(job, measured, failure, invalid, readings)


def signatures(
    root: Path,
    request: wire.TimeSignatures,
    runtime: Optional[Path],
    board: Path = Path("/"),
    host: Optional[Lines] = None,
    report: Report = quiet,
) -> wire.SignatureTimes:
    """Time bare invocations. Raises DeviceError where the store lacks a model, or the runtime dies."""
    files = {str(store.need(root, one, "a model")): one.sha256 for one in request.models}
    task = tasks.Bare(request.format, tuple(files), request.lengths, request.threads, request.calls, request.warmup)
    before, swapped = sensors.read(board), sensors.swapped_in(board)
    with Child(runtime, Setting(request.threads), host) as child:
        answer = child.ask("bare", task, tasks.BareTimes, report, request.timeout_s)
    after, swapped = sensors.read(board), sensors.swapped_in(board) - swapped
    log.write(root, "timed", models=len(files), lengths=list(request.lengths), threads=request.threads)
    return wire.SignatureTimes(
        tuple(wire.Signature(files[one.model], one.length, one.ms) for one in answer.times),
        _invalid(before, after, swapped),
    )


def _invalid(before: Dict[str, float], after: Dict[str, float], swapped: int) -> Tuple[str, ...]:
    """Why figures taken between two readings of the sensors must not be used."""
    throttled = dict.fromkeys(sensors.live_throttle(before) + sensors.live_throttle(after))
    invalid = tuple("throttled: " + one for one in throttled)
    if swapped > 0:
        invalid += ("swapping: {} pages read back".format(swapped),)
    return invalid
