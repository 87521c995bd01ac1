"""How sure an answer is: what the recipe asks, and what the build found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from edgekit.errors import SpecError
from edgekit.spec.bounds import within


@dataclass(frozen=True)
class Answers:
    """What a classifier's probabilities are worth, and when it had better say that it does not know.

    ``calibrate`` divides the logits by a temperature, fitted on the validation texts, so that of the answers given with
    80 % about 80 % are right. ``unsure_below`` marks an answer whose probability is smaller as unsure; with
    ``sure_accuracy`` instead, the least bound is taken at which that many per cent of the sure answers to validation
    texts are right. Left out, no answer is unsure. Where words are labelled, temperature and bound hold for each of a
    span's words, and ``sure_accuracy`` cannot be asked for.
    """

    calibrate: bool = True
    unsure_below: Optional[float] = None
    sure_accuracy: Optional[float] = None

    def __post_init__(self) -> None:
        if self.unsure_below is not None and self.sure_accuracy is not None:
            raise SpecError(
                "two ways to say when an answer is unsure",
                where="$.unsure_below",
                given="unsure_below and sure_accuracy",
                allowed="one of them",
            )
        if self.unsure_below is not None:
            within(self.unsure_below, 0, 1, "unsure_below")
        if self.sure_accuracy is not None:
            within(self.sure_accuracy, 0, 100, "sure_accuracy")


@dataclass(frozen=True)
class Sureness:
    """What the shipped file's probabilities are worth: its logits are divided by ``temperature``, and an answer less
    likely than ``unsure_below`` is unsure. The rest is of the held-out texts: the expected calibration error in points
    before (``error_before``) and after (``error_after``), how many per cent of them are answered surely (``sure``), and
    how many of those rightly (``sure_accuracy``; ``None`` where there are none); where words are labelled, of the
    words."""

    temperature: float
    unsure_below: float
    error_before: float
    error_after: float
    sure: float
    sure_accuracy: Optional[float]
