"""What a classifier's probabilities are worth: temperature, calibration error, and from where on it may be believed.

Logits are float32 [texts, classes], ``truth`` the right classes [texts]; where words are labelled, each word is a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekit.convert.parity import RUNNERS
from edgekit.convert.tokens import Inputs, encoded, padded, windowed
from edgekit.data.samples import Sample
from edgekit.spec import spans
from edgekit.spec.manifest import Artifact
from edgekit.spec.words import words_of

#: Of equal width, as in Guo et al. 2017.
BINS = 15
#: Temperatures that are looked at: beyond, answers are all alike or all certain, and the fit has failed.
COLDEST, HOTTEST = 0.05, 20.0


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of ``logits / temperature``, float64 [texts, classes]."""
    scaled = logits.astype(np.float64) / temperature
    powers: np.ndarray = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


def temperature(logits: np.ndarray, truth: Sequence[int]) -> float:
    """The one with which the truth is likeliest (Guo et al. 2017, "On Calibration of Modern Neural Networks"); it
    changes no label. Rounded to 4 digits, for the manifest."""
    low, high = np.log(COLDEST), np.log(HOTTEST)
    # golden section: the loss is convex in 1/temperature, so it has one valley over the logarithm, too
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _loss(logits, truth, float(np.exp(left))) <= _loss(logits, truth, float(np.exp(right))):
            high = right
        else:
            low = left
    return round(float(np.exp((low + high) / 2)), 4)


def calibration_error(probabilities: np.ndarray, truth: Sequence[int]) -> float:
    """The expected calibration error in points: how far confidence and accuracy are apart, over ``BINS`` bins."""
    best, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == np.asarray(truth)
    bins = np.minimum((best * BINS).astype(int), BINS - 1)
    apart = [abs(float(best[bins == one].sum() - right[bins == one].sum())) for one in range(BINS)]
    return 100 * sum(apart) / len(best)


def bound(probabilities: np.ndarray, truth: Sequence[int], accuracy: float) -> float | None:
    """The least probability, of 4 digits, from which on at least ``accuracy`` per cent of the answers are right;
    ``None`` where there is none."""
    # rounded down before they are compared, as the bound is: no surer one that is wrong slips in with the rounding
    best, right = np.floor(1e4 * probabilities.max(axis=1)) / 1e4, probabilities.argmax(axis=1) == np.asarray(truth)
    order = np.argsort(-best, kind="stable")
    reached = 100 * np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    ordered = best[order]
    # answers of one probability are sure together, or not at all
    last: np.ndarray = np.append(ordered[1:] < ordered[:-1], True)
    enough = np.flatnonzero((reached >= accuracy) & last)
    return float(ordered[enough[-1]]) if len(enough) else None


def _loss(logits: np.ndarray, truth: Sequence[int], temperature: float) -> float:
    chosen = probabilities(logits, temperature)[np.arange(len(logits)), np.asarray(truth)]
    return float(-np.log(np.maximum(chosen, 1e-300)).mean())


def logits(file: Path, artifact: Artifact, folder: Path, texts: Sequence[str]) -> np.ndarray:
    """What ``file`` answers to ``texts``, tokenized by ``folder``'s tokenizer.json, each in its windows: float32
    [texts, classes]."""
    windows = windowed(folder, texts, artifact.lengths[-1], artifact.windows)
    inputs = [_given(ids, artifact) for text in windows for ids in text]
    answers = np.concatenate(list(RUNNERS[artifact.format](file, inputs)))
    tokens = np.array([len(ids) for text in windows for ids in text])
    starts = np.cumsum([0, *(len(text) for text in windows)])[:-1]
    found: np.ndarray = np.add.reduceat(answers * tokens[:, None], starts) / np.add.reduceat(tokens, starts)[:, None]
    return found.astype(np.float32)


def words(file: Path, artifact: Artifact, folder: Path, samples: Sequence[Sample]) -> tuple[np.ndarray, list[int]]:
    """What ``file`` answers to the words of ``samples``, float32 [words, tags], and their right tags."""
    found = encoded(folder, [one.text for one in samples], artifact.lengths[-1])
    numbers = spans.numbers(artifact.tags)
    rows: list[np.ndarray] = []
    truth: list[int] = []
    answers = RUNNERS[artifact.format](file, [_given(one.ids, artifact) for one in found])
    for sample, encoding, answer in zip(samples, found, answers, strict=True):
        there = words_of(encoding, sample.text)
        tags = spans.tagged([(one.start, one.end) for one in there], sample.spans)
        # a model without I-… (or B-…) for a label cannot be right or wrong where that is the tag
        known = [(one.token, numbers[tag]) for one, tag in zip(there, tags, strict=True) if tag in numbers]
        rows.append(answer[[token for token, _ in known]])
        truth += [number for _, number in known]
    return np.concatenate(rows), truth


def _given(ids: Sequence[int], artifact: Artifact) -> Inputs:
    """As the device gives it to the file."""
    count = max(len(ids), 1)
    return padded(ids, count if artifact.dynamic else next(one for one in artifact.lengths if count <= one))
