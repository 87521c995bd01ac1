"""How much loss it costs to take ever more from one layer, all others whole (Li et al. 2017; Han et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgekit.compress import evaluate
from edgekit.compress.encoded import Encoded
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.progress import Report

#: At how many shares each layer is measured.
LEVELS = 8


def loss(checkpoint: Checkpoint, data: Encoded) -> float:
    """The mean cross-entropy on ``data``."""
    return evaluate.told(checkpoint.module, data).loss


def curves(
    checkpoint: Checkpoint,
    data: Encoded,
    close: Sequence[Callable[[float], None]],
    report: Report,
) -> list[list[float]]:
    """The loss with 0, 1/8, … all of what can go of each layer gone.

    Args:
        close: for each layer, takes a share (0 to 1) of what can go of it and silences that, the rest being open.
    """
    whole = loss(checkpoint, data)
    found = []
    for number, one in enumerate(close):
        curve = [whole]
        for level in range(1, LEVELS + 1):
            one(level / LEVELS)
            curve.append(loss(checkpoint, data))
            done = (number * LEVELS + level) / (len(close) * LEVELS)
            report(f"sensitivity of part {number + 1} of {len(close)}", done)
        one(0.0)
        found.append(curve)
    return found
