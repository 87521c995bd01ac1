"""The latency table, measured: on a board through its agent, or on this host where no board is named."""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from edgekit.building import CONVERTERS
from edgekit.deliver import apply, compatibility
from edgekit.deliver.client import Agent
from edgekit.deliver.local import LocalTransport
from edgekit.errors import DeviceError, SpecError
from edgekit.evaluating import PRICED, blob_of
from edgekit.exploration import table as tables
from edgekit.exploration.table import Entry, Need, Settings, Shape, Table
from edgekit.fieldwork import Board, agent_over
from edgekit.home import Home
from edgekit.spec import codec, wire
from edgekit.spec.device import Device
from edgekit.spec.manifest import Artifact, Blob
from edgekit.spec.progress import Report, quiet
from edgekit.spec.quantize import Convert
from edgekit.spec.result import Job, Run
from edgekit.stages import code_digest, versions

#: Timed invocations of each signature; of the host's wall clock a median wants more.
CALLS, CALLS_HOST = 9, 41


class Scale:
    """What measures layers: a board, or this host. The board is switched on when a figure is missing, not before."""

    def __init__(self, home: Home, device: Device | None, samples: Any, asked: Convert, report: Report = quiet) -> None:
        self.home, self.samples, self.asked, self.report = home, samples, asked, report
        self._stack = ExitStack()
        self._board = self._stack.enter_context(Board(home, device, report)) if device else None
        self._host: Agent | None = None
        self.name = device.target if device else "host"
        self.table = tables.load(self.file, self.identity)

    def __enter__(self) -> Scale:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def identity(self) -> dict[str, str]:
        """What the figures hold for: board and runtime, and how layers are exported."""
        if self._board is None:
            place = {"host": platform.processor() or platform.machine(), **versions("ai-edge-litert", "numpy")}
        elif self._board.repeatable:
            place = self._board.identity
        else:
            place = {"target": codec.digest(self._board.target), "device": self._board.device.host_key or ""}
        exporter = codec.digest([code_digest("convert", "models", "agent"), versions(*CONVERTERS)])
        return {**place, "exporter": exporter}

    @property
    def file(self) -> Path:
        """Where the table is kept."""
        return self.home.cache / "latency" / f"{self.name}-{codec.digest(self.identity)[:16]}.json"

    def check(self, threads: int) -> None:
        """Raise SpecError where the board has fewer cores."""
        if self._board is not None and threads > self._board.target.cpu.cores:
            raise SpecError(
                "the board has fewer cores than the search prices threads",
                where="$.search.threads",
                given=threads,
                allowed=f"1 to {self._board.target.cpu.cores}",
            )

    def runs(self, form: str, scheme: str) -> bool:
        """Whether a runtime of the board runs this."""
        return self._board is None or not compatibility.verdict(self._board.target, form, scheme).refused

    def predict(self, folder: Path, shapes: Sequence[Shape], settings: Settings, lengths: Sequence[int]) -> float:
        """Milliseconds a text, end to end: the median over the texts that a build is priced with, in the buckets
        ``lengths``. What the table lacks is measured first, with layers of the checkpoint in ``folder``."""
        from edgekit.convert.tokens import tokenize

        texts = [one.text for one in self.samples.test[:PRICED]]
        counts = [len(one) for one in tokenize(folder, texts, lengths[-1])]
        buckets = [next(length for length in lengths if one <= length) for one in counts]
        self._complete(folder, shapes, settings, sorted(set(buckets)))
        outside = self._outside(folder, settings, lengths)
        prices = {length: self.table.price(shapes, settings, length) or 0.0 for length in set(buckets)}
        return median(prices[length] + other for length, other in zip(buckets, outside, strict=True))

    def _complete(self, folder: Path, shapes: Sequence[Shape], settings: Settings, lengths: Sequence[int]) -> None:
        """Measure until the price of these layers can be told: anchors first, for a layer between them needs both."""
        needed = tables.needs(shapes, settings, lengths)
        while missing := self.table.missing(needed):
            self._keep(self.table.with_entries(self._measured(folder, missing)))

    def _keep(self, table: Table) -> None:
        self.table = table
        tables.save(table, self.file)

    def _measured(self, folder: Path, missing: Sequence[Need]) -> list[Entry]:
        """Shipped at once and timed by one process: a model of one layer, and where an inner one is wanted, of two."""
        from edgekit.exploration import probe

        lengths = sorted({one.length for one in missing})
        settings = missing[0].settings
        inner = {one.shape for one in missing if one.kind == "inner"}
        with tempfile.TemporaryDirectory(dir=self.home.cache, prefix=".probe-") as scratch:
            files: dict[tuple[Shape, int], Path] = {}
            for shape in dict.fromkeys(one.shape for one in missing):
                for count in (1, 2) if shape in inner else (1,):
                    self.report(f"latency table: {_told(shape)}, {count} of them, {settings.scheme}", None)
                    place = Path(scratch) / f"{len(files)}"
                    probe.write(folder, shape, count, self.samples, place, lengths=lengths)
                    schemes = [settings.scheme]
                    made = self._exported(place, schemes, settings, lengths)
                    files[shape, count] = made[settings.scheme].file
            times = self._timed(list(files.values()), settings, lengths)
        found = []
        for shape in dict.fromkeys(one.shape for one in missing):
            for length in lengths:
                one = times[files[shape, 1], length]
                found.append(Entry("last", shape, settings, length, one))
                if shape in inner:
                    two = times[files[shape, 2], length]
                    found.append(Entry("inner", shape, settings, length, max(0.0, two - one)))
        return found

    def _exported(self, place: Path, schemes: Sequence[str], settings: Settings, lengths: Sequence[int]) -> Any:
        from edgekit.exploration import probe

        form, block = settings.format, settings.block
        runtime = compatibility.reader(self._board.target, form) if self._board is not None else None
        return probe.export(place, form, schemes, self.samples, self.asked, lengths, block, runtime)

    def _timed(
        self, files: Sequence[Path], settings: Settings, lengths: Sequence[int]
    ) -> dict[tuple[Path, int], float]:
        """Median ms of one invocation, by file and length."""
        blobs = {file: blob_of(file) for file in files}
        self._ship({blob: file for file, blob in blobs.items()})
        request = wire.TimeSignatures(
            settings.format,  # type: ignore[arg-type]
            tuple(dict.fromkeys(blobs.values())),
            tuple(lengths),
            self._runtime(settings.format),
            calls=CALLS if self._board is not None else CALLS_HOST,
            threads=settings.threads,
        )
        answer = self._agent.call("signatures", request, wire.SignatureTimes, self.report)
        if answer.invalid and self._board is not None:
            raise DeviceError(
                "the board's figures are no use for a table",
                where=self._board.device.name,
                given=", ".join(answer.invalid),
                remedy="let it cool down, give it a better power supply, or stop what else runs there",
            )
        by_hash = {(one.model, one.length): median(one.ms) for one in answer.times}
        return {(file, length): by_hash[blob.sha256, length] for file, blob in blobs.items() for length in lengths}

    def _outside(self, folder: Path, settings: Settings, lengths: Sequence[int]) -> tuple[float, ...]:
        """ms of each text that are not the model's, measured once for each tokenizer: another vocabulary splits a text
        into more words, or fewer."""
        tokenizer = blob_of(folder / "tokenizer.json").sha256
        key = codec.digest([tokenizer, self.samples.digest, PRICED, list(lengths)])[:24]
        kept = (self.table.outside or {}).get(key)
        if kept is not None:
            return kept
        from edgekit.exploration import probe

        self.report("latency table: tokenizing", None)
        shape = probe.read(folder)[1][-1]
        with tempfile.TemporaryDirectory(dir=self.home.cache, prefix=".probe-") as scratch:
            place = Path(scratch) / "one"
            probe.write(folder, shape, 1, self.samples, place, lengths=lengths, whole_vocabulary=True)
            schemes = [settings.scheme]
            made = self._exported(place, schemes, settings, lengths)
            run = self._run(place, made[settings.scheme], settings)
        if run.measured is None:
            raise DeviceError(f"the runtime died over a model of one layer: {run.failure}", where=self.name)
        pairs = zip(run.measured.end_to_end, run.measured.model_only, strict=True)
        found = tuple(max(0.0, whole - model) for whole, model in pairs)
        self._keep(Table(self.table.identity, self.table.entries, {**(self.table.outside or {}), key: found}))
        return found

    def _run(self, folder: Path, made: Any, settings: Settings) -> Run:
        texts = folder / "texts.jsonl"
        rows = [{"text": one.text, "label": one.label} for one in self.samples.test[:PRICED]]
        texts.write_text("".join(json.dumps(one) + "\n" for one in rows))
        tokenizer = folder / "tokenizer.json"
        artifact = Artifact(
            "probe",
            "optimized",
            settings.format,  # type: ignore[arg-type]
            settings.scheme,  # type: ignore[arg-type]
            blob_of(made.file),
            blob_of(tokenizer),
            made.signatures,
        )
        samples = blob_of(texts)
        self._ship({artifact.blob: made.file, artifact.tokenizer: tokenizer, samples: texts})
        job = Job("probe", "probe", samples=len(rows), threads=settings.threads)
        request = wire.Measure(job, artifact, samples, self._runtime(settings.format), len(self.samples.labels))
        run: Run = self._agent.call("measure", request, Run, self.report)
        return run

    def _ship(self, files: dict[Blob, Path]) -> None:
        apply.ship(self._agent, {blob: file.name for blob, file in files.items()}, files, self.report)

    @property
    def _agent(self) -> Agent:
        if self._board is not None:
            return self._board.agent
        if self._host is None:
            root = self._stack.enter_context(tempfile.TemporaryDirectory(dir=self.home.cache, prefix=".host-"))
            self._host = self._stack.enter_context(agent_over(self.home, LocalTransport(Path(root))))
        return self._host

    def _runtime(self, form: str) -> str:
        return self._board.runtime(form) if self._board is not None else ""


def _told(shape: Shape) -> str:
    return f"a layer of {shape.heads} heads and {shape.ffn} neurons, {shape.hidden} wide"
