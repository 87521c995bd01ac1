"""Samples as token ids, and batches of them padded no further than their longest text."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Encoding, Tokenizer
from torch.nn.functional import pad

from edgekit.data.samples import Sample
from edgekit.errors import BuildError
from edgekit.models.checkpoint import Checkpoint
from edgekit.models.tokenizer import truncate
from edgekit.spec import spans
from edgekit.spec.task import CLASSIFY, LANGUAGE, TOKENS, Task
from edgekit.spec.words import words_of

#: The label of a text that has none, of a token that none comes after, and of one that is not tagged: no word's first.
UNLABELED = -1
#: The tag of a word's first token where nobody knows it: a teacher tells.
UNKNOWN = -2
#: Batches are drawn from pools of this many, sorted by length: little padding, and still random.
POOL = 50


@dataclass(frozen=True)
class Encoded:
    """``ids`` one list of token ids a text (special tokens included), ``labels`` one index a text; ``pad`` fills up.
    Where the ``task`` is ``language``, what is to be told of a text that is not ``UNLABELED`` are its own tokens; where
    it is ``tokens``, a text has a label for each of its tokens."""

    ids: list[list[int]]
    labels: list[int] | list[list[int]]
    pad: int
    task: Task = CLASSIFY

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """``rows`` are the places in the Encoded. Tensors int64: ``input_ids`` and ``attention_mask`` [batch, length],
    ``labels`` [batch], or where each token has one [batch, length]: of a language model's texts, the one after it."""

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
    texts = [one.text for one in samples]
    # the fast way tells no places
    found = tokenizer.encode_batch(texts) if checkpoint.task == TOKENS else tokenizer.encode_batch_fast(texts)
    ids = [one.ids for one in found]
    labels: list[int] | list[list[int]] = [one.label for one in samples]
    if checkpoint.task == TOKENS:
        labels = _tags(samples, found, checkpoint.labels)
    return Encoded(ids, labels, padding(checkpoint), checkpoint.task)


def _tags(samples: Sequence[Sample], encodings: Sequence[Encoding], tags: Sequence[str]) -> list[list[int]]:
    """The tag of each word's first token, as ``tags`` number them; no other token has one."""
    numbers = spans.numbers(tags)
    labels = []
    for sample, encoding in zip(samples, encodings, strict=True):
        labels.append([UNLABELED] * len(encoding.ids))
        words = words_of(encoding, sample.text)
        told = spans.tagged([(one.start, one.end) for one in words], sample.spans)
        for word, tag in zip(words, told, strict=True):
            labels[-1][word.token] = UNKNOWN if sample.label == UNLABELED else numbers.get(tag, UNKNOWN)
    return labels


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
    chosen = [data.labels[row] for row in rows]
    if data.task == TOKENS:
        chosen = [[*one, *[UNLABELED] * (longest - len(one))] for one in chosen if isinstance(one, list)]
    labels = torch.tensor(chosen)
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
