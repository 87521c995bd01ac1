"""How far a training is, and how long it will take."""

from __future__ import annotations

import time

from edgekit.compress.state import Progress
from edgekit.spec.progress import Report
from edgekit.spec.task import LANGUAGE, Task
from edgekit.spec.training import Training


class Clock:
    """Tells the time left, from the steps done since this process started; ``first`` of ``steps`` were done before."""

    def __init__(self, steps: int, first: int, task: Task, report: Report) -> None:
        self.steps, self.done, self.task, self.report = steps, first, task, report
        self.started, self.count = time.monotonic(), 0

    def tell(self, progress: Progress, plan: Training) -> None:
        """One step more is done."""
        self.count += 1
        self.done += 1
        left = (time.monotonic() - self.started) / self.count * (self.steps - self.done)
        words = f"epoch {progress.epoch + 1} of {plan.epochs}, loss {progress.total / progress.step:.3f}"
        if progress.accuracies:
            reached = progress.accuracies[-1]
            words += (
                f", validation {f'perplexity {100 / reached:.1f}' if self.task == LANGUAGE else f'{reached:.1f} %'}"
            )
        self.report(f"{words}, {left:.0f} s left", self.done / self.steps)
