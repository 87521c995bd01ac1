"""Texts → padded int32 arrays, as the device makes them: tokenize, truncate, least bucket that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer

from edgekit.models.tokenizer import truncate
from edgekit.spec.windows import Windows

#: ``input_ids`` and ``attention_mask``, int32 [1, length] each.
Inputs = dict[str, np.ndarray]


def tokenize(folder: Path, texts: Sequence[str], longest: int) -> list[list[int]]:
    """Token ids of each text with the folder's tokenizer.json, special tokens included, cut to ``longest`` tokens."""
    return [one.ids for one in encoded(folder, texts, longest)]


def encoded(folder: Path, texts: Sequence[str], longest: int, overlap: int = 0) -> list[Encoding]:
    """The same with all that the tokenizer tells, as where in the text each token stands; what was cut off is left in
    it, in windows that share ``overlap`` tokens."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    truncate(tokenizer, longest, overlap)
    found: list[Encoding] = tokenizer.encode_batch(list(texts))
    return found


def windowed(folder: Path, texts: Sequence[str], longest: int, windows: Windows | None) -> list[list[list[int]]]:
    """Of each text the token ids of its windows of up to ``longest`` tokens; of the first alone without ``windows``."""
    most, overlap = (windows.most, windows.overlap) if windows else (1, 0)
    found = encoded(folder, texts, longest, overlap)
    return [[part.ids for part in [one, *one.overflowing][:most]] for one in found]


def padded(ids: Sequence[int], length: int) -> Inputs:
    """``ids`` at the front of arrays of ``length``; what does not fit is cut, the last token (a separator) stays."""
    kept = list(ids) if len(ids) <= length else [*ids[: length - 1], ids[-1]]
    input_ids: np.ndarray = np.zeros((1, length), np.int32)
    attention_mask: np.ndarray = np.zeros((1, length), np.int32)
    input_ids[0, : len(kept)] = kept
    attention_mask[0, : len(kept)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def rows(logits: np.ndarray, one: Inputs) -> np.ndarray:
    """The logits of one text that mean something, [rows, classes]: its own, [1, classes], or where each token has
    some, [1, length, classes], those at its real tokens."""
    return logits if logits.ndim == 2 else logits[0, one["attention_mask"][0, : logits.shape[1]] == 1]


def spread(texts: Sequence[Sequence[int]], lengths: Sequence[int], least: int) -> dict[int, list[Inputs]]:
    """Every tokenized text in its own bucket, and at least ``least`` (or all there are) in each.

    A bucket that few texts fall into borrows the ones nearest to it in length, longer ones cut, shorter ones padded.
    """
    buckets: dict[int, list[Inputs]] = {}
    own = [next((one for one in lengths if len(ids) <= one), lengths[-1]) for ids in texts]
    for length in lengths:
        mine = [ids for ids, bucket in zip(texts, own, strict=True) if bucket == length]
        others = [ids for ids, bucket in zip(texts, own, strict=True) if bucket != length]
        others.sort(key=lambda ids: abs(len(ids) - length))
        borrowed = others[: max(0, least - len(mine))]
        buckets[length] = [padded(ids, length) for ids in (*mine, *borrowed)]
    return buckets
