"""What a search and a sensitivity scan found: plain values that are kept, reported and printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Literal, Optional, Tuple

State = Literal["trained", "skipped", "refused"]


@dataclass(frozen=True)
class Option:
    """One format and scheme of a candidate. ``latency_ms`` is the table's price, ``size`` in bytes (an estimate from
    below until it is converted), ``accuracy`` in per cent and ``drop`` in points on the validation texts."""

    name: str
    latency_ms: float
    size: int
    accuracy: Optional[float] = None
    drop: Optional[float] = None
    failure: Optional[str] = None


@dataclass(frozen=True)
class Trial:
    """``settings`` are the drawn values by path. ``state``: ``trained``; ``skipped``, for its price or size misses a
    gate already; or ``refused``, for such a model cannot be. ``reason`` says why, and ``missed`` by how much of each
    bound it is beyond each gate (0.1 is 10 %; of accuracy, points). ``option`` is the best of its options."""

    number: int
    settings: Dict[str, Any]
    state: State
    reason: str = ""
    option: Optional[Option] = None
    missed: Optional[Dict[str, float]] = None
    seconds: float = 0.0

    @property
    def feasible(self) -> bool:
        """Whether it was trained and meets every gate that is known before it is built."""
        return self.state == "trained" and self.option is not None and not self.missed


@dataclass(frozen=True)
class Cell:
    """What one method alone costs at one layer: ``drop`` in points of accuracy, ``None`` where it does not apply there;
    then ``reason`` says why. ``layer`` is ``None`` for the whole model."""

    method: str
    layer: Optional[int]
    drop: Optional[float] = None
    reason: str = ""


@dataclass(frozen=True)
class Sensitivity:
    """``accuracy`` of the untouched model in per cent, on ``texts`` validation texts; ``error`` its standard error in
    points: a drop below it is noise. ``saved_ms`` is what a method would save at a layer on the target, by the latency
    table, where a target was named; its keys are ``method/layer``."""

    name: str
    accuracy: float
    texts: int
    error: float
    layers: int
    cells: Tuple[Cell, ...]
    target: Optional[str] = None
    saved_ms: Optional[Dict[str, float]] = None
