"""How the texts fall into the length buckets, and what truncation loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.data.samples import Samples
from edgekit.errors import MissingExtra


@dataclass(frozen=True)
class LengthStatistics:
    """``share`` of texts per bucket (by its length), in 0…1, as are the rest: ``truncated`` of the texts,
    ``tokens_lost`` of the tokens, ``padding`` of the positions computed in the texts' own buckets, ``padding_longest``
    were all padded to the last one. ``mean`` and ``longest`` in tokens, before truncation, special tokens included."""

    lengths: tuple[int, ...]
    texts: int
    share: dict[str, float]
    truncated: float
    tokens_lost: float
    padding: float
    padding_longest: float
    mean: float
    longest: int


def statistics(samples: Samples, tokenizer_file: Path, lengths: Sequence[int]) -> LengthStatistics:
    """Count the tokens of every text of ``samples`` with the tokenizer in ``tokenizer_file``."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtra("tokenizers", "host") from error
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = [one.text for part in (samples.train, samples.validation, samples.test) for one in part]
    return summarise([len(one.ids) for one in tokenizer.encode_batch_fast(texts)], lengths)


def summarise(counts: Sequence[int], lengths: Sequence[int]) -> LengthStatistics:
    """Statistics of token ``counts``, one a text, over the buckets ``lengths`` (rising; the last one truncates)."""
    last = lengths[-1]
    kept = [min(one, last) for one in counts]
    buckets = [next(length for length in lengths if one <= length) for one in kept]
    return LengthStatistics(
        lengths=tuple(lengths),
        texts=len(counts),
        share={str(length): buckets.count(length) / len(counts) for length in lengths},
        truncated=sum(one > last for one in counts) / len(counts),
        tokens_lost=1 - sum(kept) / sum(counts),
        padding=1 - sum(kept) / sum(buckets),
        padding_longest=1 - sum(kept) / (last * len(counts)),
        mean=sum(counts) / len(counts),
        longest=max(counts),
    )
