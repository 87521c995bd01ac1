"""What a language model gave for one text: logits of the next token at each of its tokens. Needs numpy."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence

from edgekit.spec.task import NextTokens


def answer(logits: Any, mask: List[int]) -> Sequence[float]:
    """Those that answer a text: of a classifier, [classes], its own; of a language model, [length, tokens], those at
    its last real token, which say how it goes on."""
    chosen: List[float] = (logits if logits.ndim == 1 else logits[sum(mask) - 1]).tolist()
    return chosen


def told(logits: Any, ids: Sequence[int]) -> Optional[NextTokens]:
    """How well each of the text's tokens ``ids`` was told by those before it; ``None`` of a classifier."""
    if logits.ndim == 1:
        return None
    import numpy

    hits, nll = 0, 0.0
    # a row at a time: the memory that is measured is to be the model's
    for row, following in zip(logits, ids[1:]):
        top = row.max()
        hits += int(row.argmax() == following)
        nll += float(numpy.log(numpy.exp(row - top, dtype=numpy.float64).sum()) + top - row[following])
    return NextTokens(hits, max(0, len(ids) - 1), nll)
