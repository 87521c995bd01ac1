"""``nn.Module`` + scheme → artifact: one file per format. ``prepare`` decides about integers, ``parity`` and
``realised`` check what came out.

A new format is one file with ``write(job)`` and ``run(file, inputs)``, one line here and one in ``parity``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgekit.convert.job import Converted, Job
from edgekit.data.samples import Samples
from edgekit.errors import BuildError, MissingExtra
from edgekit.models import grid
from edgekit.models.keras import is_keras
from edgekit.spec.progress import Report, quiet
from edgekit.spec.quantize import Calibration, Generation, Quantization
from edgekit.spec.scheme import FORMAT_SCHEMES, GENERATING, PLANNED, STATIC

try:
    from edgekit.convert import keras, tflite, torchscript
except ImportError as error:
    raise MissingExtra(error.name or "torch", "host") from error

__all__ = ["WRITERS", "Converted", "convert"]


def _onnx(job: Job) -> Converted:
    # imported when it is asked for: it is an extra of its own
    from edgekit.convert import onnx

    return onnx.write(job)


def _pte(job: Job) -> Converted:
    from edgekit.convert import executorch

    return executorch.write(job)


WRITERS: dict[str, Callable[[Job], Converted]] = {
    "tflite": tflite.write,
    "ptl": torchscript.write,
    "onnx": _onnx,
    "pte": _pte,
}


def convert(
    checkpoint: Path,
    *,
    format: str,
    scheme: str,
    lengths: Sequence[int],
    samples: Samples,
    calibration: Calibration,
    out: Path,
    seed: int,
    report: Report = quiet,
    float_file: Path | None = None,
    quantization: Quantization | None = None,
    generation: Generation | None = None,
    runtime: str | None = None,
) -> Converted:
    """Write a checkpoint as one artifact file.

    Args:
        checkpoint: a checkpoint folder, see ``edgekit.models.checkpoint``, or that of a Keras model, which becomes
            TFLite, see ``edgekit.models.keras``.
        lengths: the length buckets in tokens, rising: one signature ``len<length>`` each.
        samples: what needs calibration is calibrated on texts drawn from the training part.
        out: the file to write; it appears whole or not at all. Equal inputs give equal bytes.
        seed: decides which training texts are drawn, and how stochastic rounding falls.
        float_file: the same checkpoint and lengths as ``w32_a32_float`` of this format, where it was written before:
            quantized schemes start from it instead of converting again, unless they change weights before. A format
            that is not in ``STARTS_FROM`` has no use for it.
        generation: a language model's file can write as well, in the formats that can (``GENERATING``).
        runtime: who has to read the file, where that is not the newest runtime of its format: operators that it lacks
            are written as those it has.
        quantization: how weights and activations become integers in TFLite and ONNX; the defaults where left out.

    Raises BuildError where the format cannot hold the scheme or cannot generate, a length is longer than the model's
    positions, weights are not finite or there are too few texts to calibrate on.
    """
    candidate = f"{format}/{scheme}"
    writers = {"tflite": keras.write} if is_keras(checkpoint) else WRITERS
    if format not in writers:
        raise BuildError("nothing writes this format", given=format, allowed=sorted(writers), where=candidate)
    if scheme not in FORMAT_SCHEMES[format]:
        raise BuildError(
            f"{format} cannot hold this scheme", given=scheme, allowed=FORMAT_SCHEMES[format], where=candidate
        )
    if generation is not None and format not in GENERATING:
        raise BuildError(f"{format} files do not generate", given=format, allowed=GENERATING, where=candidate)
    asked = quantization or Quantization()
    # a checkpoint that was trained for its grid brings its ranges along
    trained = scheme == STATIC and grid.read(checkpoint) is not None
    needs_texts = format in PLANNED and asked.reads_texts(scheme) and not trained
    texts = _calibration_texts(samples, calibration, seed, candidate) if needs_texts else ()
    out.parent.mkdir(parents=True, exist_ok=True)
    job = Job(checkpoint, scheme, tuple(lengths), texts, calibration, out, report, float_file, asked, seed, generation)
    # ONNX Runtime's products of integers give float32
    return writers[format](replace(job, runtime=runtime, integer_results=format != "onnx"))


def _calibration_texts(samples: Samples, calibration: Calibration, seed: int, candidate: str) -> tuple[str, ...]:
    if len(samples.train) < calibration.samples:
        raise BuildError(
            "too few training texts to calibrate on",
            where=candidate,
            given=f"{calibration.samples} asked, {len(samples.train)} there",
            allowed=f"2 to {len(samples.train)}" if len(samples.train) > 1 else None,
            remedy="lower convert.calibration.samples, or bring more training texts",
        )
    drawn = random.Random(seed).sample(samples.train, calibration.samples)
    return tuple(one.text for one in drawn)
