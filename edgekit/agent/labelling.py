"""Logits of words → the spans that their likeliest tags make."""

from __future__ import annotations

from typing import List, Sequence, Tuple

from edgekit.agent import tasks
from edgekit.agent.pipeline import argmax, softmax
from edgekit.errors import DeviceError
from edgekit.spec import spans as spanning
from edgekit.spec.wire import FoundSpan
from edgekit.spec.words import Word


def spans(
    text: str, words: Sequence[Word], rows: Sequence[Sequence[float]], model: tasks.Model
) -> Tuple[FoundSpan, ...]:
    """What ``words`` of ``text``, with the logits ``rows`` [words][tags], are. Raises DeviceError where a logit is no
    number, or there are others than the model's tags."""
    tags: List[str] = []
    shares: List[float] = []
    for row in rows:
        if len(row) != len(model.tags):
            raise DeviceError("the model knows another number of tags", given=len(row), allowed=len(model.tags))
        best = argmax(row)
        tags.append(model.tags[best])
        shares.append(softmax(row, model.temperature)[best])
    found: List[FoundSpan] = []
    for run in spanning.runs(tags):
        start, end = words[run.first].start, words[run.after - 1].end
        score = min(shares[run.first : run.after])
        found.append(FoundSpan(start, end, run.label, text[start:end], score, score < model.unsure_below))
    return tuple(found)
