"""What one compression step did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """``validation_accuracy`` in per cent, after the step. ``epochs`` that ran, and the mean training loss of each;
    both empty where nothing was trained. ``seconds`` differ between runs, so they enter no digest."""

    kind: str
    parameters: int
    validation_accuracy: float
    epochs: int = 0
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
