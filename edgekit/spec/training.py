"""What every step that trains is told: how long, how fast, in which precision, and by which losses."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least, within

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Training:
    """``epochs`` at most, in batches of ``batch`` texts; AdamW's ``learning_rate`` rises for ``warmup`` (a share of all
    steps) and falls to 0. ``accumulate`` batches make one step of the optimizer. ``patience`` is how many epochs may
    bring no better validation before training stops. ``precision`` is what forward and backward compute in; weights
    and optimizer stay float32."""

    epochs: int = 3
    learning_rate: float = 1e-4
    batch: int = 32
    accumulate: int = 1
    warmup: float = 0.1
    weight_decay: float = 0.01
    patience: int = 3
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        at_least(self.epochs, self._fewest_epochs(), "epochs")
        at_least(self.batch, 1, "batch")
        at_least(self.accumulate, 1, "accumulate")
        within(self.learning_rate, 1e-8, 1.0, "learning_rate")
        within(self.warmup, 0.0, 0.9, "warmup")
        at_least(self.weight_decay, 0.0, "weight_decay")
        at_least(self.patience, 1, "patience")

    def _fewest_epochs(self) -> int:
        return 1


@dataclass(frozen=True)
class Losses:
    """The weights of a sum of losses; 0 leaves one out.

    ``label`` is cross-entropy with the label. ``logits`` is T²·KL from the teacher's logits (Hinton 2015).
    """

    label: float = 0.3
    logits: float = 1.0
    hidden: float = 0.0

    def __post_init__(self) -> None:
        for one in fields(self):
            at_least(getattr(self, one.name), 0.0, one.name)
        if not any(getattr(self, one.name) for one in fields(self)):
            raise SpecError("all loss weights are 0: nothing would be learned", where="$.logits")


@dataclass(frozen=True)
class Learning(Training):
    """Training from the teacher, which is the model that the last ``finetune`` left: ``losses`` are summed with their
    weights, ``temperature`` T softens both sides' logits."""

    learning_rate: float = 3e-4
    losses: Losses = field(default_factory=Losses)
    temperature: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self.temperature, 0.1, 100, "temperature")


@dataclass(frozen=True)
class Recovery(Learning):
    """Learning after a change that cost accuracy; ``epochs`` 0 leaves the changed model as it is."""

    epochs: int = 1
    learning_rate: float = 2e-4

    def _fewest_epochs(self) -> int:
        return 0
