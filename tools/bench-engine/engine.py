"""The run itself: every contender answers the same texts, on the host in turns, on each board once."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import running
from contender import Contender

from edgekit import bundle as bundles
from edgekit import load
from edgekit.bundle import folder
from edgekit.data import lengths
from edgekit.deliver import apply
from edgekit.deliver.client import Agent
from edgekit.deliver.local import LocalTransport
from edgekit.errors import EdgekitError, UsageError
from edgekit.evaluating import blob_of
from edgekit.fieldwork import Board, agent_over, power_on
from edgekit.home import Home
from edgekit.spec.manifest import Artifact
from edgekit.spec.progress import quiet
from edgekit.spec.result import Job, Measured, Run
from edgekit.spec.wire import Measure

NS_PER_INSTRUCTION = 8.0


@dataclass(frozen=True)
class Ours:
    """The artifact that a bundle ships, run by edgekit's own agent."""

    name: str
    bundle: Path
    artifact: Artifact

    @classmethod
    def of(cls, bundle: Path) -> Ours:
        manifest, _ = folder.read(bundle)
        return cls(f"edgekit {manifest.optimized.name}", bundle, manifest.optimized)

    def ask(self, agent: Agent, texts: Path, count: int, runtime: str = "") -> Run:
        """One benchmark process over the first ``count`` texts."""
        blob = blob_of(texts)
        sources = {one: bundles.blob_file(self.bundle, one) for one in (self.artifact.blob, self.artifact.tokenizer)}
        apply.ship(agent, {one: one.sha256[:12] for one in (*sources, blob)}, {**sources, blob: texts}, quiet)
        job = Job(self.name, self.artifact.name, samples=count)
        return agent.call("measure", Measure(job, self.artifact, blob, runtime, self.artifact.answers), Run, quiet)


@dataclass(frozen=True)
class Row:
    """``host`` are ms by round and text, ``counted`` millions of instructions by target and text, end to end;
    ``missing`` says by place why there are none. ``labels`` are what it answered on the host, if it was asked there."""

    name: str
    size: int
    labels: tuple[int, ...]
    host: tuple[tuple[float, ...], ...]
    counted: dict[str, tuple[float, ...]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """``tokens`` of each text, as the model's own tokenizer counts them, after truncation, and ``truth``, its label.
    The last ``ours`` rows are edgekit's."""

    tokens: tuple[int, ...]
    truth: tuple[int, ...]
    rows: tuple[Row, ...]
    ours: int


def run(
    others: Sequence[Contender],
    ours: Sequence[Ours],
    texts: Path,
    truth: Sequence[int],
    count: int,
    rounds: int,
    targets: Sequence[str],
    checkpoint: Path,
) -> Table:
    """The rows of ``others``, then of ``ours``; ``truth`` are the labels of ``texts``."""
    rows = _on_host(others, ours, texts, count, rounds)
    for target in targets:
        rows = _on_board(target, rows, others, ours, texts, count)
    said = [json.loads(line)["text"] for line in texts.read_text().splitlines()[:count]]
    counts = lengths.counts(said, checkpoint / "tokenizer.json")
    longest = ours[0].artifact.lengths[-1]
    tokens = tuple(min(one, longest) for one in counts)
    return Table(tokens, tuple(truth[:count]), tuple(rows), len(ours))


def joined(before: Table, now: Table) -> Table:
    """What was recorded ``before``, with the places measured ``now`` in place of their old figures. Raises UsageError
    where these are other texts, or other files of the same names."""
    if (before.tokens, before.truth, before.ours) != (now.tokens, now.truth, now.ours):
        raise UsageError(
            "the record is of other texts or bundles", where="--record", remedy="record these in a file of their own"
        )
    if [(one.name, one.size) for one in before.rows] != [(one.name, one.size) for one in now.rows]:
        raise UsageError(
            "the record is of other files",
            where="--record",
            given=[one.name for one in now.rows],
            allowed=[one.name for one in before.rows],
            remedy="record these in a file of their own",
        )
    rows = []
    for old, new in zip(before.rows, now.rows, strict=True):
        counted = {**old.counted, **new.counted}
        missing = {place: why for place, why in {**old.missing, **new.missing}.items() if place not in counted}
        rows.append(Row(old.name, old.size, new.labels or old.labels, new.host or old.host, counted, missing))
    return Table(now.tokens, now.truth, tuple(rows), now.ours)


def _on_host(others: Sequence[Contender], ours: Sequence[Ours], texts: Path, count: int, rounds: int) -> list[Row]:
    """Each round all contenders in turn; nothing is run in none."""
    sizes = {one.name: one.file.stat().st_size for one in others} | {one.name: one.artifact.blob.size for one in ours}
    if not rounds:
        return [Row(name, size, (), ()) for name, size in sizes.items()]
    times: dict[str, list[tuple[float, ...]]] = {one.name: [] for one in (*others, *ours)}
    labels: dict[str, tuple[int, ...]] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hosts = {one.name: stack.enter_context(running.Host(one, texts, count, scratch)) for one in others}
        agent = stack.enter_context(agent_over(Home.default(), LocalTransport(scratch / "agent")))
        for number in range(rounds):
            for name, host in hosts.items():
                answer = host.round()
                times[name].append(tuple(answer["end_to_end"]))
                labels[name] = tuple(answer["labels"])
            for one in ours:
                measured = _measured(one.ask(agent, texts, count))
                times[one.name].append(measured.end_to_end)
                labels[one.name] = measured.labels
            print(f"host: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return [Row(name, sizes[name], labels[name], tuple(found)) for name, found in times.items()]


def _on_board(
    target: str, rows: Sequence[Row], others: Sequence[Contender], ours: Sequence[Ours], texts: Path, count: int
) -> list[Row]:
    home = Home.default()
    device = power_on(home, load.target(target), f"engine-{target}", "counted")
    with Board(home, device) as board:
        asks: dict[str, Callable[[], Sequence[float]]] = {
            one.name: lambda one=one: running.on_board(board, one, texts, count)["end_to_end"]  # type: ignore[misc]
            for one in others
        }
        for one in ours:
            asks[one.name] = lambda one=one: (
                _measured(  # type: ignore[misc]
                    one.ask(board.agent, texts, count, board.runtime(one.artifact.format))
                ).end_to_end
            )
        return [_counted(target, row, asks[row.name]) for row in rows]


def _counted(target: str, row: Row, ask: Callable[[], Sequence[float]]) -> Row:
    try:
        found = tuple(one / NS_PER_INSTRUCTION for one in ask())
    except EdgekitError as error:
        return _with(row, target, missing=error.message)
    print(f"{target}: {row.name}: median {median(found):.2f} M instructions", file=sys.stderr, flush=True)
    return _with(row, target, found)


def _with(row: Row, target: str, counted: tuple[float, ...] | None = None, missing: str = "") -> Row:
    return Row(
        row.name,
        row.size,
        row.labels,
        row.host,
        row.counted if counted is None else {**row.counted, target: counted},
        {**row.missing, target: missing} if missing else row.missing,
    )


def _measured(run: Run) -> Measured:
    if run.measured is None:
        raise EdgekitError(f"{run.job.solution}: {run.failure}")
    return run.measured
