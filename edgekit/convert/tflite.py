"""TFLite: one signature a length bucket, weights shared between them, through litert-torch."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgekit.convert import decoder, graph, lean, lowered, module, prepare, quantize, realised, versions
from edgekit.convert.job import Converted, Job, signature_name, signatures, write_whole
from edgekit.convert.tokens import Inputs, rows
from edgekit.errors import BuildError, MissingExtra
from edgekit.spec.manifest import Signature
from edgekit.spec.progress import Report, quiet
from edgekit.spec.quantize import Generation

try:
    import torch
    from ai_edge_litert.interpreter import Interpreter
    from torch import nn
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-litert", "host") from error

FLOAT = "w32_a32_float"


class _Named(nn.Module):  # type: ignore[misc]
    """Gives the output its name."""

    def __init__(self, classifier: module.Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.classifier(input_ids, attention_mask)}


def write(job: Job) -> Converted:
    """Write the job's file: convert to float, unless that was done before, and quantize from there.

    Raises BuildError where the checkpoint cannot be exported for these lengths, or there are too few texts.
    """
    classifier = module.load(job.checkpoint, job.lengths, job.generation)
    if job.scheme == FLOAT:
        export(classifier, job.lengths, job.out, job.report, job.generation)
    else:
        write_whole(job.out, lambda file: _write_quantized(job, classifier, file))
    found = signatures(job.lengths, module.classes(classifier), classifier.task)
    if job.generation:
        found += decoder.signatures(decoder.Decoder(classifier, job.generation.context), job.generation)
    return Converted(
        file=job.out,
        signatures=found,
        realised=realised.tflite(job.out, job.scheme),
        parameters=module.parameters(classifier),
        runtimes=readers(job),
    )


def readers(job: Job) -> tuple[str, ...]:
    """Who has all operators of the job's file. Raises BuildError where the runtime it is for does not."""
    content = job.out.read_bytes()
    lost = versions.lacking(content, job.runtime) if job.runtime else ()
    if lost:
        job.out.unlink()
        raise BuildError(f"{job.runtime} lacks operators of this file: {', '.join(lost)}", where=f"tflite/{job.scheme}")
    return versions.readers(content)


def export(
    classifier: module.Classifier,
    lengths: Sequence[int],
    out: Path,
    report: Report = quiet,
    generation: Generation | None = None,
) -> None:
    """Convert to float32 TFLite; the classifier's layer norms are rewritten for it, in place. With ``generation``, a
    language model's file can also write.

    Most of the time goes into torch's own decompositions, so it grows with the layers.
    """
    count = len(lengths) + (len(decoder.lengths(generation)) if generation else 0)
    report(f"converting {count} signatures to TFLite", None)
    # tracing makes millions of small objects that stay alive: looking through them again and again costs a tenth of it
    gc.disable()
    try:
        with module.hushed():
            weights = {name: one.weight.detach().numpy() for name, one in graph.linears(classifier).items()}
            graph.unfold_(classifier)
            content = lean.slim(_converted(classifier, lengths, generation), weights)
    finally:
        gc.enable()
    write_whole(out, lambda file: file.write_bytes(content))


def run(file: Path, inputs: Sequence[Inputs]) -> np.ndarray:
    """Logits float32 [texts, classes] of padded texts, each by the signature of its length, on one thread; of a
    language model [tokens, classes], of all real tokens."""
    logits: np.ndarray = np.concatenate(list(each(file, inputs)))
    return logits


def each(file: Path, inputs: Sequence[Inputs]) -> Iterator[np.ndarray]:
    """The same, text by text."""
    interpreter = Interpreter(model_path=str(file), num_threads=1)
    runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
    for one in inputs:
        yield rows(runners[signature_name(one["input_ids"].shape[1])](**one)["logits"], one)


def entry_points(file: Path) -> decoder.Call:
    """What runs the signatures of a file that generates, on one thread."""
    interpreter = Interpreter(model_path=str(file), num_threads=1)

    def call(signature: Signature, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answer: dict[str, np.ndarray] = interpreter.get_signature_runner(signature.name)(**given)
        return answer

    return call


def _converted(classifier: module.Classifier, lengths: Sequence[int], generation: Generation | None) -> bytes:
    import litert_torch

    converter, named = litert_torch.Converter(), _Named(classifier).eval()
    if generation:
        writing = decoder.Decoder(classifier, generation.context).eval()
        for name, length in decoder.lengths(generation).items():
            converter.signature(name, writing, sample_kwargs=writing.sample(length))
    for length in lengths:
        ones = torch.ones(1, length, dtype=torch.int32)
        converter.signature(
            signature_name(length), named, sample_kwargs={"input_ids": ones, "attention_mask": ones.clone()}
        )
    try:
        content: bytes = converter.convert().model_content()
    except (RuntimeError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BuildError(f"litert-torch cannot convert this module: {reason}", where="tflite") from error
    return content


def _write_quantized(job: Job, classifier: module.Classifier, out: Path) -> None:
    prepared = prepare.prepare(job, classifier)
    source = None if prepared.changed else job.float_file
    if source is None:
        source = out.with_name(out.name + ".float")
        export(classifier, job.lengths, source, job.report, job.generation)
    try:
        job.report(f"quantizing to {job.scheme}", None)
        with module.hushed():
            content = quantize.quantize(source, prepared.plan)
            if job.runtime in versions.READS:
                content = lowered.lower(content)
        out.write_bytes(content)
    finally:
        if source is not job.float_file:
            source.unlink(missing_ok=True)
