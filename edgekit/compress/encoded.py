"""Samples as token ids, and batches of them padded no further than their longest text."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch.nn.functional import pad

from edgekit.data.samples import Sample
from edgekit.errors import BuildError
from edgekit.models.checkpoint import Checkpoint
from edgekit.models.tokenizer import truncate
from edgekit.spec.task import CLASSIFY, LANGUAGE, Task

#: The label of a text that has none, and of a token that none comes after.
UNLABELED = -1
#: Batches are drawn from pools of this many, sorted by length: little padding, and still random.
POOL = 50


@dataclass(frozen=True)
class Encoded:
    """``ids`` one list of token ids a text (special tokens included), ``labels`` one index a text; ``pad`` fills up.
    Where the ``task`` is ``language``, what is to be told of a text that is not ``UNLABELED`` are its own tokens."""

    ids: list[list[int]]
    labels: list[int]
    pad: int
    task: Task = CLASSIFY

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """``rows`` are the places in the Encoded. Tensors int64: ``input_ids`` and ``attention_mask`` [batch, length],
    ``labels`` [batch], or of a language model's texts [batch, length], at each token the one after it."""

    rows: list[int]
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(self.rows, *(one.to(device) for one in (self.input_ids, self.attention_mask, self.labels)))

    def padded(self, length: int, token: int) -> Batch:
        """The same batch, filled up to ``length`` with the padding ``token``: GPT-2's classifier looks for it."""
        more = (0, length - self.input_ids.shape[1])
        labels = self.labels if self.labels.dim() == 1 else pad(self.labels, more, value=UNLABELED)
        return Batch(self.rows, pad(self.input_ids, more, value=token), pad(self.attention_mask, more), labels)


def encode(samples: Sequence[Sample], checkpoint: Checkpoint, length: int) -> Encoded:
    """Tokenize with the checkpoint's own tokenizer, truncated to ``length`` tokens."""
    tokenizer = _tokenizer(checkpoint, length)
    ids = [one.ids for one in tokenizer.encode_batch_fast([one.text for one in samples])]
    labels = [one.label for one in samples]
    return Encoded(ids, labels, padding(checkpoint), checkpoint.task)


def padding(checkpoint: Checkpoint) -> int:
    """The token that fills up batches."""
    return int(checkpoint.module.config.pad_token_id or 0)


def alike(texts: Sequence[str], ours: Checkpoint, theirs: Checkpoint, length: int) -> list[bool]:
    """Whether both tokenizers split each text into the same tokens, cut at ``length``: a trimmed vocabulary numbers its
    tokens anew, and spells what it lacks."""
    if ours.tokenizer == theirs.tokenizer:
        return [True] * len(texts)
    split = [_tokenizer(one, length).encode_batch_fast(list(texts)) for one in (ours, theirs)]
    return [mine.tokens == wanted.tokens for mine, wanted in zip(*split, strict=True)]


def places(ours: Checkpoint, theirs: Checkpoint) -> list[int]:
    """For each token of ours its number in their vocabulary; 0 for those beyond the tokenizer's, which nothing uses.

    Raises BuildError where they lack one.
    """
    known = Tokenizer.from_str(theirs.tokenizer).get_vocab()
    found = [0] * ours.family.word_embedding(ours.module).num_embeddings
    for token, number in Tokenizer.from_str(ours.tokenizer).get_vocab().items():
        if token not in known:
            raise BuildError(
                "the student's next tokens are not the teacher's: it has a token that the teacher lacks",
                given=repr(token),
                where="$.compress losses.logits",
                remedy="take a student with the teacher's vocabulary, or trimmed from it",
            )
        found[number] = known[token]
    return found


def batch(data: Encoded, rows: list[int], length: int = 0) -> Batch:
    """The texts at ``rows``, padded to the longest of them, or to ``length`` where that is more."""
    longest = max(length, *(len(data.ids[row]) for row in rows))
    input_ids = torch.full((len(rows), longest), data.pad, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for place, row in enumerate(rows):
        ids = data.ids[row]
        input_ids[place, : len(ids)] = torch.tensor(ids)
        attention_mask[place, : len(ids)] = 1
    labels = torch.tensor([data.labels[row] for row in rows])
    if data.task == LANGUAGE:
        labels = _following(input_ids, attention_mask, labels)
    return Batch(rows, input_ids, attention_mask, labels)


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


def _following(input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """At each token the one after it, [batch, length]; none after a text's last, and none in an unlabeled text."""
    after = torch.full_like(input_ids, UNLABELED)
    told = (attention_mask[:, 1:] == 1) & (labels != UNLABELED)[:, None]
    after[:, :-1] = torch.where(told, input_ids[:, 1:], UNLABELED)
    return after


def _tokenizer(checkpoint: Checkpoint, length: int) -> Tokenizer:
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
    tokenizer.no_padding()
    truncate(tokenizer, length)
    return tokenizer


def in_order(data: Encoded, size: int) -> Iterator[Batch]:
    """All texts once, by length, for evaluation."""
    rows = sorted(range(len(data)), key=lambda row: len(data.ids[row]))
    for start in range(0, len(rows), size):
        yield batch(data, rows[start : start + size])
