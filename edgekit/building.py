"""The stages of a build, each cached by the hash of its inputs. ``edgekit.pipeline.build`` says their order."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from edgekit.deliver import apply
from edgekit.deliver.client import Agent
from edgekit.deliver.local import LocalTransport
from edgekit.errors import BuildError
from edgekit.fieldwork import Board, agent_over
from edgekit.home import Home
from edgekit.outcome import Candidate
from edgekit.spec import codec
from edgekit.spec.device import Device
from edgekit.spec.manifest import Artifact, Blob, GoldenCase, Manifest, Parity, Realised, Role, Signature
from edgekit.spec.progress import Report, quiet
from edgekit.spec.recipe import Recipe
from edgekit.spec.result import Job, Run
from edgekit.spec.scheme import FORMAT_SCHEMES
from edgekit.spec.target import Target
from edgekit.spec.wire import Measure
from edgekit.stages import Stages, code_digest, versions

if TYPE_CHECKING:
    from edgekit.data.lengths import LengthStatistics

TRAINERS = ("torch", "transformers", "tokenizers", "numpy", "safetensors")
CONVERTERS = (*TRAINERS, "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer", "torchao")
GOLDEN = 16
DRAWN = 1024
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


@dataclass(frozen=True)
class Module:
    """A checkpoint folder and the key of the stage that made it."""

    folder: Path
    key: str


class Builder:
    """One recipe being built: what every stage needs to know, and the stages."""

    def __init__(self, recipe: Recipe, base: Path, home: Home, report: Report = quiet) -> None:
        self.recipe = recipe
        self.base = base
        self.home = home
        self.report = report
        self.stages = Stages(home.cache / "stages", report)

    def samples(self) -> Any:
        """Texts and labels; the folder is named by their digest, so that new package lists are new data."""
        from edgekit.data import samples

        spec, scratch = self.recipe.data, self.home.cache / "samples"
        scratch.mkdir(parents=True, exist_ok=True)
        part = scratch / f".{codec.digest([spec, self.recipe.seed, str(self.base)])[:24]}"
        shutil.rmtree(part, ignore_errors=True)
        made = samples.prepare(spec, self.base, part, self.recipe.seed, self.report)
        final = scratch / made.digest[:24]
        if final.exists():
            shutil.rmtree(part)
        else:
            part.rename(final)
        return samples.read(final)

    def model(self) -> Module:
        """The checkpoint the recipe starts from."""
        from edgekit.models import source

        folder = source.resolve(self.recipe.model, self.base, self.home.cache / "models", self.report)
        return Module(folder, _folder_digest(folder))

    def lengths(self, shipped: Made, samples: Any) -> LengthStatistics:
        """How the texts fall into the buckets with the tokenizer that ships."""
        from edgekit.data import lengths

        return lengths.statistics(samples, shipped.tokenizer, self.recipe.data.lengths)

    def compress(self, model: Module, samples: Any) -> tuple[Module, Module]:
        """Run the recipe's steps in order; gives the reference (the teacher) and the compressed module."""
        from edgekit import compress

        reference = module = model
        for number, step in enumerate(self.recipe.compress, 1):
            inputs = {
                "step": codec.encode(step),
                "from": module.key,
                "teacher": reference.key,
                "samples": samples.digest,
                "lengths": self.recipe.data.lengths,
                "seed": self.recipe.seed,
                "code": code_digest("compress", "models", "data"),
                "versions": versions(*TRAINERS),
            }
            name = f"{number}-{step.kind}"
            at, teacher = module, reference

            def make(
                part: Path, step: Any = step, at: Module = at, teacher: Module = teacher, name: str = name
            ) -> None:
                done = compress.apply(
                    step,
                    at.folder,
                    teacher.folder,
                    samples,
                    part / "checkpoint",
                    lengths=self.recipe.data.lengths,
                    seed=self.recipe.seed,
                    report=_prefixed(self.report, name),
                )
                (part / "step.json").write_text(json.dumps(codec.encode(done), indent=1))

            folder = self.stages.run(name, inputs, make) / "checkpoint"
            module = Module(folder, codec.digest(inputs))
            if step.kind == "finetune":
                reference = module
        return reference, module

    def baseline(self, reference: Module, samples: Any) -> Made:
        """The reference as float TFLite: what every candidate is held against."""
        made = self._made(reference, "tflite", "w32_a32_float", "baseline", samples)
        if isinstance(made, Candidate):
            raise BuildError(f"the float reference itself failed: {made.failure}")
        return made

    def candidates(self, module: Module, samples: Any) -> tuple[Made | Candidate, ...]:
        """Every format and scheme asked for; one that fails its parity is a Candidate with its failure."""
        return tuple(
            self._made(module, form, scheme, "optimized", samples)
            for form in self.recipe.convert.formats
            for scheme in self.recipe.convert.schemes
            if scheme in FORMAT_SCHEMES[form]
        )

    def _made(self, module: Module, form: Any, scheme: Any, role: Role, samples: Any) -> Made | Candidate:
        name = f"{form}-{scheme}"
        folder = self._converted(module, form, scheme, samples)
        described = json.loads((folder / "converted.json").read_text())
        if "failure" in described:
            return Candidate(name=name, format=form, scheme=scheme, failure=described["failure"])
        file, tokenizer = folder / f"model.{form}", module.folder / "tokenizer.json"
        artifact = Artifact(
            name=name if role == "optimized" else f"reference-{name}",
            role=role,
            format=form,
            scheme=scheme,
            blob=blob_of(file),
            tokenizer=blob_of(tokenizer),
            signatures=codec.decode(tuple[Signature, ...], described["signatures"]),
            realised=codec.decode(Realised, described["realised"]),
            parity=codec.decode(Parity, described["parity"]),
            parameters=described["parameters"],
        )
        run = self._evaluated(artifact, Files(file, tokenizer), samples)
        if run.measured is None:
            return Candidate(name=name, format=form, scheme=scheme, failure=f"on the host: {run.failure}")
        truth = [one.label for one in samples.test]
        right = sum(given == true for given, true in zip(run.measured.labels, truth, strict=True))
        accuracy = round(100 * right / len(truth), 4)
        return Made(file, tokenizer, replace(artifact, accuracy=accuracy, accuracy_samples=len(truth)), run)

    def _converted(self, module: Module, form: str, scheme: str, samples: Any) -> Path:
        from edgekit import convert
        from edgekit.convert import parity

        recipe = self.recipe
        quantized = scheme != "w32_a32_float" and form == "tflite"
        source = self._converted(module, form, "w32_a32_float", samples) / f"model.{form}" if quantized else None
        inputs = {
            "format": form,
            "scheme": scheme,
            "from": module.key,
            "lengths": recipe.data.lengths,
            "calibration": codec.encode(recipe.convert.calibration) if scheme == "w8_a8_static" else None,
            "samples": samples.digest,
            "seed": recipe.seed,
            "code": code_digest("convert", "models", "data"),
            "versions": versions(*CONVERTERS),
        }

        def make(part: Path) -> None:
            report = _prefixed(self.report, f"{form} {scheme}")
            file = part / f"model.{form}"
            try:
                done = convert.convert(
                    module.folder,
                    format=form,
                    scheme=scheme,
                    lengths=recipe.data.lengths,
                    samples=samples,
                    calibration=recipe.convert.calibration,
                    out=file,
                    seed=recipe.seed,
                    report=report,
                    float_file=source,
                )
                texts = [one.text for one in samples.validation[:64]]
                checked = parity.check(
                    done, format=form, scheme=scheme, checkpoint=module.folder, texts=texts, lengths=recipe.data.lengths
                )
                described = {
                    "signatures": codec.encode(done.signatures),
                    "realised": codec.encode(done.realised),
                    "parameters": done.parameters,
                    "parity": codec.encode(checked),
                }
            except BuildError as error:
                described = {"failure": error.message}
            (part / "converted.json").write_text(json.dumps(described))

        return self.stages.run(f"{form}-{scheme}", inputs, make)

    def _evaluated(self, artifact: Artifact, files: Files, samples: Any) -> Run:
        """Every held-out text answered by the file, on the host, by the agent's own code."""
        inputs = {
            "artifact": artifact.blob.sha256,
            "tokenizer": artifact.tokenizer.sha256,
            "samples": samples.digest,
            "code": code_digest("agent", "spec"),
            "versions": versions("ai-edge-litert", "torch", "tokenizers", "numpy"),
        }

        def make(part: Path) -> None:
            self.report(f"{artifact.name}: answering {len(samples.test)} held-out texts on the host", None)
            with agent_over(self.home, LocalTransport(self.home.cache / "host")) as agent:
                run = _measure(agent, artifact, files, samples, part, "", len(samples.test), self.report)
            (part / "run.json").write_text(codec.dumps(run))

        folder = self.stages.run(f"evaluate-{artifact.name}", inputs, make)
        return codec.loads(Run, (folder / "run.json").read_text())

    def priced(
        self, made: Sequence[Made | Candidate], baseline: Made, samples: Any, device: Device | None
    ) -> tuple[Candidate, ...]:
        """The candidates with accuracy and, on ``device`` if there is one (else on the host), latency and memory."""
        if device is None:
            return tuple(
                one if isinstance(one, Candidate) else _described(one, baseline, one.run, "host") for one in made
            )
        with Board(self.home, device, self.report) as board:
            return tuple(
                one
                if isinstance(one, Candidate)
                else _described(one, baseline, self._priced(one, samples, board), device.name)
                for one in made
            )

    def _priced(self, made: Made, samples: Any, board: Board) -> Run:
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
            self.report(f"{artifact.name}: measuring on {board.device.name}", None)
            agent, runtime = board.agent, board.runtime(artifact.format)
            run = _measure(agent, artifact, made, samples, part, runtime, PRICED, self.report)
            (part / "run.json").write_text(codec.dumps(run))

        folder = self.stages.run(f"price-{artifact.name}", inputs, make)
        run = codec.loads(Run, (folder / "run.json").read_text())
        if not board.repeatable or run.measured is None:
            self.stages.forget(folder)  # a wall clock's figures, like a failure, are for this build only
        return run

    def pack(
        self, shipped: Made, baseline: Made, samples: Any, target: Target | None, output: Path | None
    ) -> tuple[Path, str, Manifest]:
        """Write and sign the bundle; its folder, digest and manifest."""
        from edgekit.bundle import build as bundles
        from edgekit.bundle import sign

        drawn, golden = _drawn(shipped, baseline, samples)
        scratch = self.home.cache / "pack"
        scratch.mkdir(parents=True, exist_ok=True)
        drawn_file, golden_file = _written(scratch, drawn), _written(scratch, golden)
        manifest = Manifest(
            name=self.recipe.name,
            task=self.recipe.task,
            recipe_digest=codec.digest(self.recipe),
            data_digest=samples.digest,
            provenance=samples.provenance,
            seed=self.recipe.seed,
            labels=samples.labels,
            artifacts=(shipped.artifact, baseline.artifact),
            golden=blob_of(golden_file),
            samples=blob_of(drawn_file),
            versions=versions("edgekit", *CONVERTERS),
            target=target.name if target else None,
        )
        files = {
            blob.sha256: file
            for made in (shipped, baseline)
            for blob, file in ((made.artifact.blob, made.file), (made.artifact.tokenizer, made.tokenizer))
        }
        files |= {manifest.golden.sha256: golden_file, manifest.samples.sha256: drawn_file}
        key = sign.ensure_key(self.home.keys / "signing")
        sign.allow(self.home.keys / "trusted", key.with_suffix(".pub"))
        folder = output or self.home.bundles / f"{self.recipe.name}-{codec.digest(manifest)[:12]}"
        return folder, bundles.write(folder, manifest, files, key), manifest


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
    run: Run = agent.call("measure", Measure(job, artifact, blob, runtime, len(samples.labels)), Run, report)
    return run


def blob_of(file: Path) -> Blob:
    with file.open("rb") as stream:
        return Blob(hashlib.file_digest(stream, "sha256").hexdigest(), file.stat().st_size)


def _described(made: Made, baseline: Made, run: Run, where: str) -> Candidate:
    artifact = made.artifact
    candidate = Candidate(
        name=artifact.name,
        format=artifact.format,
        scheme=artifact.scheme,
        size=artifact.blob.size,
        accuracy=artifact.accuracy,
        drop=round((baseline.artifact.accuracy or 0.0) - (artifact.accuracy or 0.0), 4),
        measured_on=where,
    )
    if run.measured is None:
        return replace(candidate, failure=f"on {where}: {run.failure}")
    measured = run.measured
    return replace(candidate, latency_ms=median(measured.end_to_end), peak_memory=measured.vm_hwm - measured.bare_rss)


def _drawn(shipped: Made, baseline: Made, samples: Any) -> tuple[list[Any], list[Any]]:
    """Held-out texts for benchmarks, and golden cases: texts that both files and the truth agree on come first, since a
    health check must fail for a wrong device and not for a close call."""
    assert shipped.run.measured
    assert baseline.run.measured
    answers = shipped.run.measured.labels
    rows = list(zip(samples.test, answers, baseline.run.measured.labels, strict=True))
    drawn = [{"text": one.text, "label": one.label, "answer": answer} for one, answer, _ in rows[:DRAWN]]
    clear = sorted(rows, key=lambda row: not row[0].label == row[1] == row[2])
    return drawn, [codec.encode(GoldenCase(one.text, answer)) for one, answer, _ in clear[:GOLDEN]]


def _written(folder: Path, rows: Sequence[Any]) -> Path:
    text = "".join(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)
    file = folder / hashlib.sha256(text.encode()).hexdigest()
    # bundles hard-link it: never written in place once it has its name
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
    return file


def _folder_digest(folder: Path) -> str:
    """Of the three files that make a checkpoint, and the structure file where there is one."""
    names = ("config.json", "model.safetensors", "tokenizer.json", "edgekit.json")
    return codec.digest({name: blob_of(folder / name).sha256 for name in names if (folder / name).is_file()})


def _prefixed(report: Report, name: str) -> Callable[[str, float | None], None]:
    def told(message: str, fraction: float | None = None) -> None:
        report(f"{name}: {message}", fraction)

    return told
