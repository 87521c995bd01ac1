"""The stages of a build, each cached by the hash of its inputs. ``edgekit.pipeline.build`` says their order."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import answering, checking, evaluating, starting
from edgekit.deliver import compatibility, preflight
from edgekit.errors import BuildError
from edgekit.evaluating import Files, Made, blob_of
from edgekit.home import Home
from edgekit.models import keras
from edgekit.outcome import Candidate
from edgekit.spec import codec
from edgekit.spec.device import Device
from edgekit.spec.manifest import Artifact, GoldenCase, Manifest, Parity, Realised, Role, Signature
from edgekit.spec.progress import Report, quiet
from edgekit.spec.recipe import Recipe, Step
from edgekit.spec.result import Measured
from edgekit.spec.scheme import FORMAT_SCHEMES, STARTS_FROM
from edgekit.spec.step import StepReport
from edgekit.spec.target import Target
from edgekit.spec.task import EMBED, LANGUAGE, NATURES, TOKENS
from edgekit.stages import Stages, code_digest, files_digest, versions
from edgekit.starting import Module

if TYPE_CHECKING:
    from edgekit.data.lengths import LengthStatistics

__all__ = ["Builder", "Made", "Module"]

TRAINERS = ("torch", "transformers", "tokenizers", "numpy", "safetensors")
CONVERTERS = (*TRAINERS, "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer", "torchao")
#: What writes a format besides.
ALSO = {"onnx": ("onnx", "onnxruntime", "onnxscript"), "pte": ("executorch",)}
GOLDEN = 16
STEP = "step.json"
DRAWN = 1024


class Builder:
    """One recipe being built: what every stage needs to know, and the stages."""

    def __init__(
        self, recipe: Recipe, base: Path, home: Home, report: Report = quiet, target: Target | None = None
    ) -> None:
        self.recipe = recipe
        self.target = target
        self.base = base
        self.home = home
        self.report = report
        self.stages = Stages(home.cache / "stages", report)
        #: What the model and the data state of their licences, for the manifest.
        self.licences: dict[str, str] = {}
        #: What the recipe's steps did, in order.
        self.steps: list[StepReport] = []
        #: The length buckets in tokens; where the recipe lets the texts choose them, known once ``model`` is.
        self.lengths = recipe.data.lengths
        #: What the reference answered to the held-out texts, once there is a baseline.
        self.reference: Measured | None = None

    def samples(self) -> Any:
        """Texts and labels; the folder is named by their digest, so that new package lists are new data."""
        from edgekit.data import samples

        scratch = self.home.cache / "samples"
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch, prefix=".part-") as part:
            recipe, folder = self.recipe, Path(part) / "samples"
            made = samples.prepare(recipe.data, self.base, folder, recipe.seed, self.report, task=recipe.task)
            final = scratch / made.digest[:24]
            try:
                made.folder.rename(final)
            except OSError:
                # there from before, or from another build just now; the same digest is the same content
                if not final.is_dir():
                    raise
        if "licence" in made.provenance:
            self.licences["data"] = made.provenance["licence"]
        return replace(samples.read(final), provenance=made.provenance)

    def model(self, samples: Any) -> Module:
        """The checkpoint the recipe starts from, its tokenizer prepared for these samples; settles the length buckets.
        Raises BuildError where it cannot be had, or a bucket is too long."""
        found, self.licences["model"] = starting.resolved(self.recipe, self.base, self.home.cache, self.stages)
        prepared = starting.tokenizing(found, self.recipe.data, self.stages)
        self.lengths = starting.lengths(prepared, self.recipe.data, samples, self.report)
        return prepared

    def statistics(self, shipped: Made, samples: Any) -> LengthStatistics:
        """How the texts fall into the buckets with the tokenizer that ships."""
        from edgekit.data import lengths

        return lengths.statistics(samples, shipped.tokenizer, self.lengths, dynamic=shipped.artifact.dynamic)

    def compress(self, model: Module, samples: Any) -> tuple[Module, Module]:
        """Run the recipe's steps in order; gives the reference (the teacher) and the compressed module.

        Raises BuildError where the reference does not know the samples' labels, each at its place; before anything is
        trained where a teacher's folder cannot teach, or there are too few texts to calibrate on.
        """
        from edgekit import compress

        checking.extras(self.recipe)
        checking.teachers(self.recipe, self.base, samples)
        checking.calibration(self.recipe, samples)
        if self._plain(model, samples):
            model = self._adopted(model)
        reference = module = model
        after: list[Module] = []
        for number, step in enumerate(self.recipe.compress, 1):
            if step.needs_classifier:
                checking.labels(reference, samples)
            others = self._teachers(step, after)
            inputs = {
                "step": codec.encode(step),
                "from": module.key,
                "teacher": reference.key,
                "teachers": [one.key for one in others],
                "samples": samples.digest,
                "lengths": self.lengths,
                "seed": self.recipe.seed,
                "code": code_digest("compress", "models", "data"),
                "versions": versions(*TRAINERS),
            }
            name = f"{number}-{step.kind}"
            run = partial(
                compress.apply,
                step,
                module.folder,
                reference.folder,
                samples,
                lengths=self.lengths,
                seed=self.recipe.seed,
                teachers=[one.folder for one in others],
                report=_prefixed(self.report, name),
            )
            folder = self.stages.run(name, inputs, partial(_compressed, run), _checkpoint_digest)
            self.steps.append(codec.loads(StepReport, (folder / STEP).read_text()))
            module = Module(folder / "checkpoint", codec.digest(inputs))
            after.append(module)
            if step.kind == "finetune":
                reference = module
        checking.labels(reference, samples)
        return reference, module

    def _plain(self, model: Module, samples: Any) -> bool:
        """Whether the folder is for the recipe's task already, and does not say so."""
        from edgekit.models import folder

        if not NATURES[self.recipe.task].labelled:
            return True
        return self.recipe.task == TOKENS and folder.labels(model.folder, TOKENS) == samples.labels

    def _adopted(self, model: Module) -> Module:
        """The model as a checkpoint that says what it is for: a plain folder does not."""
        from edgekit import compress

        inputs = {
            "from": model.key,
            "task": self.recipe.task,
            "pooling": self.recipe.model.pooling,
            "code": code_digest("models"),
            "versions": versions("torch", "transformers", "safetensors"),
        }
        task, pooling = self.recipe.task, self.recipe.model.pooling
        folder = self.stages.run(
            task, inputs, lambda part: compress.adopt(model.folder, part / "checkpoint", task, pooling)
        )
        return Module(folder / "checkpoint", codec.digest(inputs))

    def _teachers(self, step: Step, after: Sequence[Module]) -> list[Module]:
        """Whom a step learns from besides the reference: earlier steps by number, checkpoint folders by path."""
        found = []
        for one in step.distill.teachers if step.distill else ():
            if isinstance(one, int):
                found.append(after[one - 1])
            else:
                folder = self.base / Path(one).expanduser()
                found.append(Module(folder, starting.folder_digest(folder)))
        return found

    def baseline(self, reference: Module, samples: Any) -> Made:
        """The reference as float TFLite: what every candidate is held against."""
        made = self._made(reference, "tflite", "w32_a32_float", "baseline", samples)
        if isinstance(made, Candidate):
            raise BuildError(f"the float reference itself failed: {made.failure}")
        self.reference = made.run.measured
        return made

    def candidates(self, module: Module, samples: Any) -> tuple[Made | Candidate, ...]:
        """Every format and scheme asked for; one that fails its parity, or that the target does not run, is a Candidate
        with its failure."""
        return tuple(
            self._unfit(form, scheme) or self._made(module, form, scheme, "optimized", samples)
            for form in self.recipe.convert.formats
            for scheme in self.recipe.convert.schemes
            if scheme in FORMAT_SCHEMES[form]
        )

    def _made(self, module: Module, form: Any, scheme: Any, role: Role, samples: Any) -> Made | Candidate:
        from edgekit.convert import footprint

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
            dynamic=described["dynamic"],
            runtimes=tuple(described["runtimes"]),
            tags=samples.labels if samples.task == TOKENS else (),
            task=samples.task,
            memory=footprint.estimate(file, form, tokenizer.stat().st_size),
            windows=self.recipe.data.windows,
        )
        large = preflight.too_large(self.target, artifact.memory) if self.target and role == "optimized" else ""
        if large:
            return Candidate(name=name, format=form, scheme=scheme, failure=large, memory=artifact.memory)
        run = evaluating.answered(self.home, self.stages, artifact, Files(file, tokenizer), samples)
        if run.measured is None:
            return Candidate(name=name, format=form, scheme=scheme, failure=f"on the host: {run.failure}")
        reference = self.reference if role == "optimized" else None
        return Made(file, tokenizer, evaluating.graded(artifact, run.measured, samples, tokenizer, reference), run)

    def _converted(self, module: Module, form: str, scheme: str, samples: Any) -> Path:
        from edgekit import convert
        from edgekit.convert import parity

        recipe = self.recipe
        first = STARTS_FROM.get(form, scheme)
        inputs = {
            "format": form,
            "scheme": scheme,
            "from": module.key,
            "lengths": self.lengths,
            "calibration": codec.encode(recipe.convert.calibration)
            if recipe.convert.quantization.reads_texts(scheme)
            else None,
            "quantization": codec.encode(recipe.convert.quantization) if scheme != first else None,
            "generation": codec.encode(recipe.convert.generation),
            "samples": samples.digest,
            "seed": recipe.seed,
            "runtime": self._runtime(form),
            "code": code_digest("convert", "models", "data"),
            "versions": versions(*self._makers(form)),
        }

        # before it is asked for, and cached or not: every build runs the same stages in the same order
        whole = None if first == scheme else self._converted(module, form, first, samples)

        def make(part: Path) -> None:
            report = _prefixed(self.report, f"{form} {scheme}")
            file = part / f"model.{form}"
            try:
                source = None if whole is None else _source(whole, form, first)
                done = convert.convert(
                    module.folder,
                    format=form,
                    scheme=scheme,
                    lengths=self.lengths,
                    samples=samples,
                    calibration=recipe.convert.calibration,
                    out=file,
                    seed=recipe.seed,
                    report=report,
                    float_file=source,
                    quantization=recipe.convert.quantization,
                    generation=recipe.convert.generation,
                    runtime=self._runtime(form),
                )
                texts = [one.text for one in samples.validation[:64]]
                checked = parity.check(
                    done, format=form, scheme=scheme, checkpoint=module.folder, texts=texts, lengths=self.lengths
                )
                described = {
                    "signatures": codec.encode(done.signatures),
                    "realised": codec.encode(done.realised),
                    "parameters": done.parameters,
                    "dynamic": done.dynamic,
                    "runtimes": done.runtimes,
                    "parity": codec.encode(checked),
                }
            except BuildError as error:
                described = {"failure": error.message}
            (part / "converted.json").write_text(json.dumps(described))

        return self.stages.run(f"{form}-{scheme}", inputs, make)

    def _makers(self, form: str) -> tuple[str, ...]:
        """The packages that a file of this format is made by."""
        return (*CONVERTERS, *ALSO.get(form, ()), *(keras.PACKAGES if self.recipe.model.keras else ()))

    def _unfit(self, form: Any, scheme: Any) -> Candidate | None:
        reason = compatibility.verdict(self.target, form, scheme).refused if self.target else ""
        return Candidate(name=f"{form}-{scheme}", format=form, scheme=scheme, failure=reason) if reason else None

    def _runtime(self, form: str) -> str | None:
        """Who has to read a format's files, where that is not its newest runtime."""
        return compatibility.reader(self.target, form) if self.target else None

    def priced(
        self, made: Sequence[Made | Candidate], baseline: Made, samples: Any, device: Device | None
    ) -> tuple[Candidate, ...]:
        """The candidates with accuracy and, on ``device`` if there is one (else on the host), latency and memory."""
        return evaluating.priced(self.home, self.stages, made, baseline, samples, device)

    def sure(self, shipped: Made, samples: Any) -> Made:
        """The file that ships, knowing what its probabilities are worth. Raises GateMissed as ``answers`` asks."""
        if not NATURES[self.recipe.task].labelled:
            return shipped
        found = answering.sureness(shipped, self.recipe.answers, samples, self.stages)
        return replace(shipped, artifact=replace(shipped.artifact, sureness=found))

    def pack(
        self,
        shipped: Made,
        baseline: Made,
        samples: Any,
        target: Target | None,
        output: Path | None,
        check: Callable[[str], None] = lambda digest: None,
    ) -> tuple[Path, str, Manifest]:
        """Write and sign the bundle; its folder, digest and manifest. ``check`` may refuse the digest before that."""
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
            versions=versions("edgekit", *self._makers(shipped.artifact.format)),
            licences=self.licences,
            target=target.name if target else None,
        )
        files = {
            blob.sha256: file
            for made in (shipped, baseline)
            for blob, file in ((made.artifact.blob, made.file), (made.artifact.tokenizer, made.tokenizer))
        }
        files |= {manifest.golden.sha256: golden_file, manifest.samples.sha256: drawn_file}
        check(codec.digest(manifest))
        key = sign.ensure_key(self.home.keys / "signing")
        sign.allow(self.home.keys / "trusted", key.with_suffix(".pub"))
        folder = output or self.home.bundles / f"{self.recipe.name}-{codec.digest(manifest)[:12]}"
        return folder, bundles.write(folder, manifest, files, key), manifest


def _drawn(shipped: Made, baseline: Made, samples: Any) -> tuple[list[Any], list[Any]]:
    """Held-out texts for benchmarks, and golden cases: texts that both files and the truth agree on come first, since a
    health check must fail for a wrong device and not for a close call. How a text goes on nobody knows: of language
    models both files agree on the token."""
    assert shipped.run.measured
    assert baseline.run.measured
    if samples.task == TOKENS:
        return _drawn_spans(shipped.run.measured, baseline.run.measured, samples)
    if samples.task == EMBED:
        return _drawn_embeddings(shipped.run.measured, samples)
    answers = shipped.run.measured.labels
    rows = list(zip(samples.test, answers, baseline.run.measured.labels, strict=True))
    drawn = [{"text": one.text, "label": one.label, "answer": answer} for one, answer, _ in rows[:DRAWN]]
    if samples.task == LANGUAGE:
        ours, theirs = (_spelling(one.tokenizer) for one in (shipped, baseline))
        clear = sorted(rows, key=lambda row: ours[row[1]] != theirs[row[2]])
    else:
        clear = sorted(rows, key=lambda row: not row[0].label == row[1] == row[2])
    return drawn, [codec.encode(GoldenCase(one.text, answer)) for one, answer, _ in clear[:GOLDEN]]


def _drawn_spans(ours: Measured, theirs: Measured, samples: Any) -> tuple[list[Any], list[Any]]:
    """The same where words are labelled; texts with spans come before those that have none, which anybody finds."""
    assert ours.spans is not None
    assert theirs.spans is not None
    rows = list(zip(samples.test, ours.spans, theirs.spans, strict=True))
    drawn = [{**codec.encode(one), "answer": len(found)} for one, found, _ in rows[:DRAWN]]
    clear = sorted(rows, key=lambda row: (not row[0].spans == row[1] == row[2], not row[1]))
    return drawn, [codec.encode(GoldenCase(one.text, len(found), found)) for one, found, _ in clear[:GOLDEN]]


def _drawn_embeddings(ours: Measured, samples: Any) -> tuple[list[Any], list[Any]]:
    """The same where texts are embedded: any text will do."""
    assert ours.embeddings is not None
    rows = list(zip(samples.test, ours.embeddings, strict=True))
    drawn = [{"text": one.text, "label": 0, "answer": 0} for one, _ in rows[:DRAWN]]
    return drawn, [codec.encode(GoldenCase(one.text, 0, embedding=found)) for one, found in rows[:GOLDEN]]


def _spelling(tokenizer: Path) -> dict[int, str]:
    """Tokens by their numbers, which a trimmed vocabulary has of its own."""
    from tokenizers import Tokenizer

    return {number: token for token, number in Tokenizer.from_file(str(tokenizer)).get_vocab().items()}


def _written(folder: Path, rows: Sequence[Any]) -> Path:
    text = "".join(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)
    file = folder / hashlib.sha256(text.encode()).hexdigest()
    # bundles hard-link it: never written in place once it has its name
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
    return file


def _compressed(run: Callable[..., StepReport], part: Path) -> None:
    (part / STEP).write_text(codec.dumps(run(part / "checkpoint")))


def _checkpoint_digest(folder: Path) -> str:
    # not step.json: it tells the seconds that the step took
    return files_digest(folder / "checkpoint")


def _source(folder: Path, form: str, scheme: str) -> Path:
    """The file that a format's other schemes start from. Raises BuildError where that one failed."""
    failure = json.loads((folder / "converted.json").read_text()).get("failure")
    if failure:
        raise BuildError(f"{form}-{scheme}, which it starts from, failed: {failure}")
    return folder / f"model.{form}"


def _prefixed(report: Report, name: str) -> Callable[[str, float | None], None]:
    def told(message: str, fraction: float | None = None) -> None:
        report(f"{name}: {message}", fraction)

    return told
