"""The plain compression steps: training on the task, and a smaller vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.spec.bounds import at_least
from edgekit.spec.training import Training


@dataclass(frozen=True)
class Finetune(Training):
    """Train the model on the task; what comes out is the teacher, and the reference of every gate."""

    patience: int = 2


@dataclass(frozen=True)
class Vocabulary:
    """Drop the tokens that the training texts never use; the tokenizer is rewritten with them.

    Single characters and special tokens always stay, so that every text can still be spelled. A token stays when
    the training texts use it ``min_count`` times.
    """

    min_count: int = 1

    def __post_init__(self) -> None:
        at_least(self.min_count, 1, "min_count")
