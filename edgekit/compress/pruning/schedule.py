"""When: all at once, or ever more while the model trains.

The masked share rises as s·(1 - (1 - t)³) (Zhu & Gupta 2017): fast while there is much to spare, slowly towards the
end. After that the masks stand still and the rest recovers; only an epoch that ends with the whole share masked can be
the best.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from edgekit.compress.distill import teach
from edgekit.compress.task import Task
from edgekit.compress.training import Progress
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.prune import Prune

#: How often the masks are drawn anew while they rise.
UPDATES = 20
#: Of one update: steps are counted in whole numbers, shares are not.
_NEARLY = 1e-6


def level(step: int, steps: int, ramp: tuple[float, float]) -> int:
    """How many of the ``UPDATES`` are due after ``step`` of ``steps`` steps."""
    begin, end = ramp
    along = (step / steps - begin) / (end - begin)
    return max(0, min(UPDATES, math.floor(along * UPDATES + _NEARLY)))


def share(level: int) -> float:
    """What part of the whole is masked at ``level``: 0 at 0, exactly 1 at ``UPDATES``."""
    return 1.0 - (1.0 - level / UPDATES) ** 3


def first_whole(ramp: tuple[float, float], epochs: int) -> int:
    """The first epoch (from 0) that ends with the whole share masked."""
    return max(0, math.ceil(ramp[1] * epochs - _NEARLY) - 1)


def train(
    student: Checkpoint,
    options: Prune,
    task: Task,
    close: Callable[[float], None],
    keep: Callable[[Path], None],
) -> Progress:
    """Teach ``student`` while ``close`` masks the share it is told, by the student's weights and gates as they are;
    ``keep`` as in :func:`edgekit.compress.distill.teach`.

    All that ``close`` depends on and changes is in the training's state, so a resumed training equals another.
    """

    def after(step: int, steps: int) -> None:
        now = level(step + 1, steps, options.ramp)
        if now != level(step, steps, options.ramp):
            close(share(now))

    first = first_whole(options.ramp, options.epochs)
    return teach(student, options, task, "prune", after_step=after, first=first, keep=keep)
