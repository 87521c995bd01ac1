"""TFLite: one signature a length bucket, weights shared between them, through litert-torch."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekit.convert import calibrate, module, quantize, realised
from edgekit.convert.job import Converted, Job, signature_name, signatures, write_whole
from edgekit.convert.tokens import Inputs, spread, tokenize
from edgekit.errors import BuildError, MissingExtra
from edgekit.spec.progress import Report, quiet

try:
    import torch
    from ai_edge_litert.interpreter import Interpreter
    from torch import nn
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-litert", "host") from error

FLOAT = "w32_a32_float"
STATIC = "w8_a8_static"
#: Each bucket has activations, and so ranges, of its own: none may go with a handful of texts.
LEAST_TEXTS = 64
#: In dB. In a fine-tuned MiniLM all activations of matrix products stand above it but those around the second
#: feed-forward product, which carry a few channels 100 times as large as the rest (Bondarenko 2021): int8 there cost
#: 2 points of accuracy.
LEAST_FIDELITY = 27.0


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
    classifier = module.load(job.checkpoint, job.lengths)
    if job.scheme == FLOAT:
        export(classifier, job.lengths, job.out, job.report)
    else:
        write_whole(job.out, lambda file: _write_quantized(job, classifier, file))
    return Converted(
        file=job.out,
        signatures=signatures(job.lengths, module.classes(classifier)),
        realised=realised.tflite(job.out, job.scheme),
        parameters=module.parameters(classifier),
    )


def export(classifier: module.Classifier, lengths: Sequence[int], out: Path, report: Report = quiet) -> None:
    """Convert to float32 TFLite. Most of the time goes into torch's own decompositions, so it grows with the layers."""
    report(f"converting {len(lengths)} signatures to TFLite", None)
    # tracing makes millions of small objects that stay alive: looking through them again and again costs a tenth of it
    gc.disable()
    try:
        with module.hushed():
            content = _converted(_Named(classifier).eval(), lengths)
    finally:
        gc.enable()
    write_whole(out, lambda file: file.write_bytes(content))


def run(file: Path, inputs: Sequence[Inputs]) -> np.ndarray:
    """Logits float32 [texts, classes] of padded texts, each by the signature of its length, on one thread."""
    interpreter = Interpreter(model_path=str(file), num_threads=1)
    runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
    logits: np.ndarray = np.concatenate(
        [runners[signature_name(one["input_ids"].shape[1])](**one)["logits"] for one in inputs]
    )
    return logits


def _converted(named: _Named, lengths: Sequence[int]) -> bytes:
    import litert_torch

    converter = litert_torch.Converter()
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
    source = job.float_file
    if source is None:
        source = out.with_name(out.name + ".float")
        export(classifier, job.lengths, source, job.report)
    try:
        ranges, spared = _calibrated(job, source) if job.scheme == STATIC else (None, set())
        job.report(f"quantizing to {job.scheme}", None)
        with module.hushed():
            content = quantize.quantize(source, job.scheme, ranges, spared)
        out.write_bytes(content)
    finally:
        if job.float_file is None:
            source.unlink(missing_ok=True)


def _calibrated(job: Job, source: Path) -> tuple[dict[str, calibrate.Range], set[str]]:
    """Ranges by tensor, and the outputs of operators that one scale a tensor would spoil."""
    ids = tokenize(job.checkpoint, job.texts, job.lengths[-1])
    texts = spread(ids, job.lengths, LEAST_TEXTS)
    histograms = calibrate.collect(source, texts, quantize.STATIC_OPERATORS, job.report)
    ranges = {name: calibrate.find(one, job.calibration) for name, one in histograms.items()}
    spoiled = {name for name, one in histograms.items() if calibrate.fidelity(one, ranges[name]) < LEAST_FIDELITY}
    return ranges, calibrate.outputs_touching(source, quantize.STATIC_OPERATORS, spoiled)
