"""What one compression step did."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Optional, Sequence, Tuple

#: Of a loss curve: enough to draw it.
POINTS = 200


@dataclass(frozen=True)
class StepReport:
    """``validation_accuracy`` in per cent, after the step; of a student whose teacher knows no labels of the task,
    100·e^-loss (of embeddings as well, or 100 × their mean cosine with the teacher's where nothing was trained); of a
    language model 100 ÷ ``perplexity``, the mean (geometric) of what it gave the right tokens. ``perplexity`` is that
    of its validation texts. ``epochs`` that ran, and the mean training loss of each; both empty where nothing was
    trained. ``seconds`` differ between runs, so they enter no digest. ``remarks`` are sentences on what the figures do
    not say. ``accuracies`` are the validation's after each epoch, ``curve`` the training loss over all steps, in at
    most ``POINTS`` means of equally many steps each."""

    kind: str
    parameters: int
    validation_accuracy: float
    epochs: int = 0
    losses: Tuple[float, ...] = ()
    seconds: float = 0.0
    remarks: Tuple[str, ...] = ()
    accuracies: Tuple[float, ...] = ()
    curve: Tuple[float, ...] = ()
    perplexity: Optional[float] = None


def thinned(curve: Sequence[float], points: int = POINTS) -> Tuple[float, ...]:
    """At most ``points`` means of equally many values each (the last of what is left)."""
    size = max(1, -(-len(curve) // points))
    return tuple(fmean(curve[start : start + size]) for start in range(0, len(curve), size))
