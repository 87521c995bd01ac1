"""What a build's files answer and cost: on the host by the agent's own code, and on a board where there is one."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from edgekit.deliver import apply
from edgekit.deliver.client import Agent
from edgekit.deliver.local import LocalTransport
from edgekit.fieldwork import Board, agent_over
from edgekit.home import Home
from edgekit.outcome import HOST, Candidate
from edgekit.spec import codec, spans
from edgekit.spec.device import Device
from edgekit.spec.manifest import Artifact, Blob
from edgekit.spec.progress import Report
from edgekit.spec.result import Job, Measured, Run
from edgekit.spec.spans import Span, SpanCounts
from edgekit.spec.wire import Measure
from edgekit.spec.words import words_of
from edgekit.stages import Stages, code_digest, versions

Vector = Sequence[float]
#: What answers on the host.
RUNTIMES = ("ai-edge-litert", "torch", "tokenizers", "numpy")
#: And of a format that is an extra.
ALSO = {"onnx": ("onnxruntime",), "pte": ("executorch",)}
#: Texts timed on the board for each candidate: enough for a median, the benchmark proper takes more.
PRICED = 24


@dataclass(frozen=True)
class Files:
    """A model file and the tokenizer it was built for."""

    file: Path
    tokenizer: Path


@dataclass(frozen=True)
class Made(Files):
    """A converted file, what the manifest will say of it, and the host's run over all held-out texts."""

    artifact: Artifact
    run: Run


def answered(home: Home, stages: Stages, artifact: Artifact, files: Files, samples: Any) -> Run:
    """Every held-out text answered by the file, on the host, by the agent's own code."""
    inputs = {
        "artifact": artifact.blob.sha256,
        "tokenizer": artifact.tokenizer.sha256,
        "samples": samples.digest,
        "windows": codec.encode(artifact.windows),
        "code": code_digest("agent", "spec"),
        "versions": versions(*RUNTIMES, *ALSO.get(artifact.format, ())),
    }

    def make(part: Path) -> None:
        stages.report(f"{artifact.name}: answering {len(samples.test)} held-out texts on the host", None)
        # the agent keeps every file it was ever given: its folder goes when the answers are there
        with (
            tempfile.TemporaryDirectory(dir=home.cache, prefix=".host-") as root,
            agent_over(home, LocalTransport(Path(root))) as agent,
        ):
            run = _measure(agent, artifact, files, samples, part, "", len(samples.test), stages.report)
        (part / "run.json").write_text(codec.dumps(run))

    folder = stages.run(f"evaluate-{artifact.name}", inputs, make, _answers_digest)
    run = codec.loads(Run, (folder / "run.json").read_text())
    if run.invalid:
        stages.forget(folder)  # the host was swapping: that says nothing of the next build's figures
    return run


def _answers_digest(folder: Path) -> str:
    """Of the answers alone: how long they took is another matter."""
    run = codec.loads(Run, (folder / "run.json").read_text())
    if run.measured is None:
        return codec.digest(run.failure)
    measured = run.measured
    told = [one for one in (measured.language, measured.spans, measured.embeddings) if one is not None]
    return codec.digest([run.measured.labels, *told] if told else run.measured.labels)


def graded(
    artifact: Artifact, measured: Measured, samples: Any, tokenizer: Path, reference: Measured | None
) -> Artifact:
    """The artifact with what a run over all held-out texts reached: its accuracy in per cent, and what its task has
    besides. Embeddings are held against those of the ``reference``, which is right by itself."""
    artifact = replace(artifact, accuracy_samples=len(samples.test))
    if measured.language is not None:
        told = measured.language
        return replace(artifact, accuracy=round(told.accuracy, 4), perplexity=round(told.perplexity, 4))
    if measured.spans is not None:
        found = spanned(measured.spans, samples.test, tokenizer)
        return replace(artifact, accuracy=round(found.accuracy, 4), f1=round(found.f1, 4))
    if measured.embeddings is not None:
        return _likened(artifact, measured.embeddings, (reference or measured).embeddings or ())
    right = sum(given == one.label for given, one in zip(measured.labels, samples.test, strict=True))
    return replace(artifact, accuracy=round(100 * right / len(samples.test), 4))


def _likened(artifact: Artifact, given: Sequence[Vector], wanted: Sequence[Vector]) -> Artifact:
    """How many texts have the same nearest other one (the greatest cosine), and where the embeddings are of one length,
    how near they are to the wanted ones."""
    import numpy as np

    ours, theirs = np.array(given), np.array(wanted)
    nearest = []
    for one in (ours, theirs):
        alike = one @ one.T
        np.fill_diagonal(alike, -np.inf)
        nearest.append(alike.argmax(axis=1))
    artifact = replace(artifact, accuracy=round(100 * float((nearest[0] == nearest[1]).mean()), 4))
    if ours.shape != theirs.shape:
        return artifact
    cosines = (ours * theirs).sum(axis=1)
    return replace(artifact, mean_cosine=round(float(cosines.mean()), 5), least_cosine=round(float(cosines.min()), 5))


def spanned(given: Sequence[Sequence[Span]], wanted: Sequence[Any], tokenizer: Path) -> SpanCounts:
    """The spans ``given`` for samples against their own. Words beyond the longest bucket count: they were not read."""
    from tokenizers import Tokenizer

    known = Tokenizer.from_file(str(tokenizer))
    known.no_truncation()
    texts = [one.text for one in wanted]
    words = [words_of(one, text) for one, text in zip(known.encode_batch(texts), texts, strict=True)]
    places = [[(word.start, word.end) for word in row] for row in words]
    return spans.counts(places, given, [one.spans for one in wanted])


def priced(
    home: Home,
    stages: Stages,
    made: Sequence[Made | Candidate],
    baseline: Made,
    samples: Any,
    device: Device | None,
) -> tuple[Candidate, ...]:
    """The candidates with accuracy and, on ``device`` if there is one (else on the host), latency and memory."""
    if device is None:
        return tuple(one if isinstance(one, Candidate) else described(one, baseline, one.run, HOST) for one in made)
    with Board(home, device, stages.report) as board:
        return tuple(
            one
            if isinstance(one, Candidate)
            else described(one, baseline, _priced(stages, one, samples, board), device.name)
            for one in made
        )


def _priced(stages: Stages, made: Made, samples: Any, board: Board) -> Run:
    artifact = made.artifact
    inputs = {
        "artifact": artifact.blob.sha256,
        "tokenizer": artifact.tokenizer.sha256,
        "samples": samples.digest,
        "count": PRICED,
        "board": board.identity,
        "code": code_digest("agent", "spec"),
    }

    def make(part: Path) -> None:
        stages.report(f"{artifact.name}: measuring on {board.device.name}", None)
        agent, runtime = board.agent, board.runtime(artifact.format)
        run = _measure(agent, artifact, made, samples, part, runtime, PRICED, stages.report)
        (part / "run.json").write_text(codec.dumps(run))

    folder = stages.run(f"price-{artifact.name}", inputs, make, None)
    run = codec.loads(Run, (folder / "run.json").read_text())
    if not board.repeatable or run.measured is None or run.invalid:
        stages.forget(folder)  # a wall clock's figures, like a failure, are for this build only
    return run


def _measure(
    agent: Agent, artifact: Artifact, made: Files, samples: Any, scratch: Path, runtime: str, count: int, report: Report
) -> Run:
    """One benchmark process over the first ``count`` held-out texts, wherever the agent runs."""
    texts = scratch / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": one.text, "label": one.label}) + "\n" for one in samples.test))
    blob = blob_of(texts)
    sources = {artifact.blob: made.file, artifact.tokenizer: made.tokenizer, blob: texts}
    names = {artifact.blob: artifact.name, artifact.tokenizer: "tokenizer", blob: "held-out texts"}
    apply.ship(agent, names, sources, report)
    job = Job(artifact.name, artifact.name, samples=count)
    run: Run = agent.call("measure", Measure(job, artifact, blob, runtime, artifact.answers), Run, report)
    return run


def described(made: Made, baseline: Made, run: Run, where: str) -> Candidate:
    """A candidate as ``run`` measured it; one whose figures must not be used has failed."""
    artifact = made.artifact
    candidate = Candidate(
        name=artifact.name,
        format=artifact.format,
        scheme=artifact.scheme,
        size=artifact.blob.size,
        accuracy=artifact.accuracy,
        drop=_drop(artifact.accuracy or 0.0, baseline.artifact.accuracy or 0.0),
        perplexity=artifact.perplexity,
        perplexity_rise=_rise(artifact.perplexity, baseline.artifact.perplexity),
        mean_cosine=artifact.mean_cosine,
        least_cosine=artifact.least_cosine,
        f1=artifact.f1,
        f1_drop=_drop(artifact.f1, baseline.artifact.f1),
        measured_on=where,
        coverage=artifact.realised.coverage(artifact.scheme),
        memory=artifact.memory,
    )
    if run.measured is None:
        return replace(candidate, failure=f"on {where}: {run.failure}")
    if run.invalid and where == HOST:
        return candidate  # the answers stand, the figures of a busy host decide nothing anyway
    if run.invalid:
        return replace(candidate, failure=f"on {where}: its figures are no use: {', '.join(run.invalid)}")
    measured = run.measured
    return replace(candidate, latency_ms=median(measured.end_to_end), peak_memory=measured.vm_hwm - measured.bare_rss)


def _drop(reached: float | None, reference: float | None) -> float | None:
    """In points."""
    return None if reached is None or reference is None else round(reference - reached, 4)


def _rise(reached: float | None, reference: float | None) -> float | None:
    """In per cent of the reference."""
    return None if reached is None or reference is None else round(100 * (reached / reference - 1), 4)


def blob_of(file: Path) -> Blob:
    with file.open("rb") as stream:
        return Blob(hashlib.file_digest(stream, "sha256").hexdigest(), file.stat().st_size)
