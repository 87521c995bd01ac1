"""Samples as token ids, and batches of them padded no further than their longest text."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch.nn.functional import pad

from edgekit.data.samples import Sample
from edgekit.models.checkpoint import Checkpoint

#: Batches are drawn from pools of this many, sorted by length: little padding, and still random.
POOL = 50


@dataclass(frozen=True)
class Encoded:
    """``ids`` one list of token ids a text (special tokens included), ``labels`` one index a text; ``pad`` fills up."""

    ids: list[list[int]]
    labels: list[int]
    pad: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """``rows`` are the places in the Encoded. Tensors int64: ``input_ids`` and ``attention_mask`` [batch, length],
    ``labels`` [batch]."""

    rows: list[int]
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(self.rows, *(one.to(device) for one in (self.input_ids, self.attention_mask, self.labels)))

    def padded(self, length: int) -> Batch:
        """The same batch, filled up to ``length`` by what the mask hides."""
        more = (0, length - self.input_ids.shape[1])
        # hidden tokens are any: what stands there is never attended to
        return Batch(self.rows, pad(self.input_ids, more), pad(self.attention_mask, more), self.labels)


def encode(samples: Sequence[Sample], checkpoint: Checkpoint, length: int) -> Encoded:
    """Tokenize with the checkpoint's own tokenizer, truncated to ``length`` tokens."""
    tokenizer = _tokenizer(checkpoint, length)
    ids = [one.ids for one in tokenizer.encode_batch_fast([one.text for one in samples])]
    return Encoded(ids, [one.label for one in samples], checkpoint.module.config.pad_token_id or 0)


def alike(texts: Sequence[str], ours: Checkpoint, theirs: Checkpoint, length: int) -> list[bool]:
    """Whether both tokenizers split each text into the same tokens, cut at ``length``: a trimmed vocabulary numbers its
    tokens anew, and spells what it lacks."""
    if ours.tokenizer == theirs.tokenizer:
        return [True] * len(texts)
    split = [_tokenizer(one, length).encode_batch_fast(list(texts)) for one in (ours, theirs)]
    return [mine.tokens == wanted.tokens for mine, wanted in zip(*split, strict=True)]


def batch(data: Encoded, rows: list[int], length: int = 0) -> Batch:
    """The texts at ``rows``, padded to the longest of them, or to ``length`` where that is more."""
    longest = max(length, *(len(data.ids[row]) for row in rows))
    input_ids = torch.full((len(rows), longest), data.pad, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for place, row in enumerate(rows):
        ids = data.ids[row]
        input_ids[place, : len(ids)] = torch.tensor(ids)
        attention_mask[place, : len(ids)] = 1
    return Batch(rows, input_ids, attention_mask, torch.tensor([data.labels[row] for row in rows]))


def shuffled(data: Encoded, size: int, seed: int, epoch: int) -> list[list[int]]:
    """One epoch's batches of rows, in an order that ``seed`` and ``epoch`` decide; lengths are alike in a batch."""
    draw = random.Random(f"{seed}:{epoch}")
    rows = list(range(len(data)))
    draw.shuffle(rows)
    batches = []
    for start in range(0, len(rows), size * POOL):
        pool = sorted(rows[start : start + size * POOL], key=lambda row: len(data.ids[row]))
        batches += [pool[one : one + size] for one in range(0, len(pool), size)]
    draw.shuffle(batches)
    return batches


def _tokenizer(checkpoint: Checkpoint, length: int) -> Tokenizer:
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=length)
    return tokenizer


def in_order(data: Encoded, size: int) -> Iterator[Batch]:
    """All texts once, by length, for evaluation."""
    rows = sorted(range(len(data)), key=lambda row: len(data.ids[row]))
    for start in range(0, len(rows), size):
        yield batch(data, rows[start : start + size])
