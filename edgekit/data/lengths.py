"""How the texts fall into the length buckets, and what truncation loses."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.data.samples import Samples
from edgekit.errors import MissingExtra

#: Int8 kernels for ARMv8.0 compute two rows at a time (others four or more): an odd length costs as much as the next
#: even one. Measured on an emulated Cortex-A72: a product for 5 tokens takes as many instructions as one for 6.
ROWS = 2
SHORTEST = 4


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


def statistics(
    samples: Samples, tokenizer_file: Path, lengths: Sequence[int], dynamic: bool = False
) -> LengthStatistics:
    """Count the tokens of every text of ``samples`` with the tokenizer in ``tokenizer_file``. A ``dynamic`` file takes
    each at its own length."""
    texts = [one.text for part in (samples.train, samples.validation, samples.test) for one in part]
    found = summarise(counts(texts, tokenizer_file), lengths)
    return replace(found, padding=0.0) if dynamic else found


def counts(texts: Sequence[str], tokenizer_file: Path) -> list[int]:
    """Tokens of each text, special ones included, before truncation."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtra("tokenizers", "host") from error
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [len(one.ids) for one in tokenizer.encode_batch_fast(list(texts))]


def choose(counts: Sequence[int], buckets: int, longest: int) -> tuple[int, ...]:
    """The ``buckets`` lengths, rising up to ``longest``, that pad texts of these token ``counts`` least.

    Lengths are multiples of ``ROWS`` from ``SHORTEST`` on, apart from ``longest``. Exact, by dynamic programming over
    the last bucket but one (the k-median problem on a line); of equals the smaller lengths. Fewer come out where fewer
    do as well.
    """
    ends = [*range(SHORTEST, longest, ROWS), longest]
    kept = sorted(min(one, longest) for one in counts)
    # texts up to each end
    below = [0] + [bisect_right(kept, end) for end in ends]
    #: computed positions by the number of buckets used so far, for texts up to each end, and the lengths
    best: list[tuple[int, tuple[int, ...]]] = [(end * below[at], (end,)) for at, end in enumerate(ends, 1)]
    for _ in range(buckets - 1):
        best = [
            min(
                [
                    best[at - 1],
                    *(
                        (best[cut - 1][0] + end * (below[at] - below[cut]), (*best[cut - 1][1], end))
                        for cut in range(1, at)
                    ),
                ],
                key=lambda found: (found[0], len(found[1]), found[1]),
            )
            for at, end in enumerate(ends, 1)
        ]
    return best[-1][1]


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
