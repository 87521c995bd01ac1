"""What a model gave for one text where each token has logits: of a language model those of the next token. Needs
numpy."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence

from edgekit.errors import DeviceError
from edgekit.spec.task import NextTokens


class Said:
    """What a runner keeps of the text it ran last: ``_logits``, [classes] or [length, classes]."""

    _logits: Any = None

    def told(self, ids: Sequence[int]) -> Optional[NextTokens]:
        return told(self._logits, ids)

    def rows(self, places: Sequence[int]) -> List[List[float]]:
        return rows(self._logits, places)


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


def rows(logits: Any, places: Sequence[int]) -> List[List[float]]:
    """The logits at some of a text's tokens. Raises DeviceError where the model has none for each token."""
    if logits.ndim == 1:
        raise DeviceError("the model gives one answer a text, and none for each token", given=list(logits.shape))
    return [logits[place].tolist() for place in places]
