"""Parity: a written file against the float module, on the same texts, before anything else is done with it.

Where each token has logits, each real one is a case of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgekit.convert import decoder, module, tflite, tokens, torchscript
from edgekit.convert.job import Converted
from edgekit.convert.tokens import Inputs, padded, spread, tokenize
from edgekit.errors import BuildError
from edgekit.models import folder as folders
from edgekit.models import keras
from edgekit.spec.manifest import DECODE, Parity
from edgekit.spec.task import EMBED


def _pte(file: Path, inputs: Sequence[Inputs]) -> Iterator[np.ndarray]:
    from edgekit.convert import executorch

    return executorch.each(file, inputs)


def _onnx(file: Path, inputs: Sequence[Inputs]) -> Iterator[np.ndarray]:
    from edgekit.convert import onnx

    return onnx.each(file, inputs)


def _onnx_entry_points(file: Path) -> decoder.Call:
    from edgekit.convert import onnx

    return onnx.entry_points(file)


RUNNERS: dict[str, Callable[[Path, Sequence[Inputs]], Iterator[np.ndarray]]] = {
    "tflite": tflite.each,
    "ptl": torchscript.each,
    "onnx": _onnx,
    "pte": _pte,
}
#: What runs a generating file's signatures, of the formats that have such (``GENERATING``).
ENTRY_POINTS: dict[str, Callable[[Path], decoder.Call]] = {"tflite": tflite.entry_points, "onnx": _onnx_entry_points}
#: Every bucket is tried with this many texts at least, padded or cut to it where none has its length.
LEAST_TEXTS = 8


@dataclass(frozen=True)
class Bounds:
    """Least cosine between the logits of any text, least share of equal labels."""

    cosine: float
    agreement: float


#: What each scheme must keep. Measured on MiniLM, fine-tuned to 20 classes, and on a student of 2 layers (72 texts, in
#: buckets of 16, 32 and 64): worst cosine / agreement 1.0 / 1.0 for float, 0.9990 / 1.0 for weight, 0.9987 / 1.0 for
#: dynamic (0.980 / 0.98 as .ptl, whose activations have one scale a tensor instead of one a token), 0.9937 / 0.986 for
#: static. On 2,000 texts of the same teacher: 1.0 / 0.9995 for half precision; -0.56 / 0.90 for int4, 0.35 / 0.91 in
#: blocks of 32: single texts fall over, so its labels are the check. Next tokens of a GPT-2 (2 layers, 6,144 tokens;
#: 683 cases): 0.9999 / 0.990 for weight, 0.9995 / 0.988 for dynamic, 0.9986 / 0.981 for static, 0.979 / 0.890 for int4.
#: A file that was converted wrongly is far below: stock static int8 reached 0.67, and wrong labels are nearly all.
BOUNDS: dict[str, Bounds] = {
    "w32_a32_float": Bounds(0.9999, 1.0),
    "w16_a32_float": Bounds(0.999, 0.99),
    "w8_a32_weight": Bounds(0.99, 0.97),
    "w8_a32_dynamic": Bounds(0.96, 0.94),
    "w8_a8_static": Bounds(0.97, 0.93),
    "w4_a32_weight": Bounds(-0.7, 0.8),
    "w4_a32_dynamic": Bounds(-0.7, 0.8),
}


def check(
    converted: Converted, *, format: str, scheme: str, checkpoint: Path, texts: Sequence[str], lengths: Sequence[int]
) -> Parity:
    """Run ``texts`` through the file, padded to each bucket and as they are where it takes any length, and through the
    float module, which sees them without any padding. A Keras model is the module where there is one.

    Raises BuildError naming the candidate (``tflite/w8_a8_static``), the figure and the bound it missed.
    """
    if not texts:
        raise BuildError("parity needs texts", where=f"{format}/{scheme}", given=0, allowed="1 or more")
    labelled = folders.task(checkpoint) != EMBED
    ids = tokenize(checkpoint, texts, lengths[-1])
    inputs = [one for bucket in spread(ids, lengths, LEAST_TEXTS).values() for one in bucket]
    if converted.dynamic:
        inputs += [padded(one, max(len(one), 1)) for one in ids]
    expected = _expected(checkpoint, lengths, inputs)
    cosines, equal = [], []
    try:
        # a text at a time: each token of a language model has as many logits as there are tokens
        for pair in zip(RUNNERS[format](converted.file, inputs), expected, strict=True):
            near, same = _alike(*pair)
            cosines.append(near)
            # which of an embedding's numbers is the greatest is no label
            equal.append(same if labelled else np.ones_like(same))
        for pair in _continued(converted, format, inputs, checkpoint, lengths):
            near, same = _alike(*pair)
            cosines.append(near)
            equal.append(same)
    except (RuntimeError, ValueError, KeyError) as error:
        raise BuildError(f"the file does not run: {error}", where=f"{format}/{scheme}") from error
    parity = _summed(np.concatenate(cosines), np.concatenate(equal), BOUNDS[scheme])
    _hold(parity, f"{format}/{scheme}")
    return parity


def compare(given: np.ndarray, expected: np.ndarray, bounds: Bounds) -> Parity:
    """Logits [texts, classes] of both sides, compared text by text; what is not finite has a cosine of -1."""
    return _summed(*_alike(given, expected), bounds)


def _alike(given: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cosine of each row, and whether its greatest logit is the same one."""
    if given.shape != expected.shape:
        raise BuildError("the file gives logits of another shape", given=given.shape, allowed=expected.shape)
    norms = np.linalg.norm(given, axis=1) * np.linalg.norm(expected, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = np.nan_to_num((given * expected).sum(axis=1) / norms, nan=-1.0, posinf=-1.0, neginf=-1.0)
    return cosines, given.argmax(axis=1) == expected.argmax(axis=1)


def _summed(cosines: np.ndarray, equal: np.ndarray, bounds: Bounds) -> Parity:
    least, agreement = float(np.clip(cosines.min(), -1.0, 1.0)), float(np.mean(equal))
    # rounded, for the manifest: the last bits differ between processors
    return Parity(len(cosines), round(least, 5), round(agreement, 5), bounds.cosine, bounds.agreement)


def _expected(checkpoint: Path, lengths: Sequence[int], inputs: Sequence[Inputs]) -> Iterator[np.ndarray]:
    if keras.is_keras(checkpoint):
        yield from keras.logits(checkpoint, inputs)[:, None]
        return
    classifier = module.load(checkpoint, lengths)
    for one in inputs:
        real = int(one["attention_mask"].sum())
        bare = {name: torch.from_numpy(values[:, :real]) for name, values in one.items()}
        with torch.inference_mode():
            found = classifier(**bare).numpy()
        yield tokens.rows(found, one)


def _continued(
    converted: Converted, format: str, inputs: Sequence[Inputs], checkpoint: Path, lengths: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What the file gives as it generates, where it does, and what it should: the last logits of the texts' halves and
    of everything that begins with one."""
    context = next((one.length for one in converted.signatures if one.kind == DECODE), 0)
    if not context:
        return
    chosen = [one for one in inputs if 1 < one["attention_mask"].sum() <= context][-LEAST_TEXTS:]
    ids = [one["input_ids"][0, : int(one["attention_mask"].sum())].tolist() for one in chosen]
    wanted = _expected(checkpoint, lengths, chosen)
    call = ENTRY_POINTS[format](converted.file)
    for given, expected in zip(decoder.each(call, converted.signatures, ids), wanted, strict=True):
        # a classifier's module says what it is about at the end alone
        yield given[-len(expected) :], expected[-len(given) :]


def _hold(parity: Parity, candidate: str) -> None:
    for figure, value, bound in (
        ("least cosine of the logits", parity.min_cosine, parity.required_cosine),
        ("share of equal labels", parity.label_agreement, parity.required_agreement),
    ):
        if value < bound:
            raise BuildError(
                f"{candidate} strays from the float module: {figure} {value:.4f}, at least {bound} needed",
                where=candidate,
                given=f"{figure} {value:.5f} on {parity.cases} texts",
                allowed=f"{bound} or more",
                remedy="leave this scheme out, or calibrate on more texts",
            )
