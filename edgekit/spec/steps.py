"""The plain compression steps: training on the task, and a smaller vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least
from edgekit.spec.training import Training


@dataclass(frozen=True)
class Finetune(Training):
    """Train the model on the task; what comes out is the teacher, and the reference of every gate."""

    patience: int = 2


@dataclass(frozen=True)
class Vocabulary:
    """Drop the tokens that the training texts never use; the tokenizer is rewritten with them.

    A token stays when the training texts use it ``min_count`` times; with ``unlabeled``, the texts of data.unlabeled
    count as well. ``size`` keeps that many of the most used tokens instead. Special tokens always stay, and so do
    single ``characters``: ``all``, so that every text can still be spelled, or those ``seen`` in the texts, and a word
    with any other becomes the unknown token.
    """

    min_count: int = 1
    unlabeled: bool = False
    size: Optional[int] = None
    characters: Literal["all", "seen"] = "all"

    def __post_init__(self) -> None:
        at_least(self.min_count, 1, "min_count")
        if self.size is not None:
            at_least(self.size, 1, "size")
            if self.min_count > 1:
                raise SpecError(
                    "two rules say which tokens stay",
                    where="$.size",
                    given="size {}, min_count {}".format(self.size, self.min_count),
                    remedy="leave size or min_count out",
                )
