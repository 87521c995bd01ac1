"""How a step ends that changed a checkpoint: recover from the teacher where it is asked to, save, say what came out."""

from __future__ import annotations

from dataclasses import replace

from edgekit.compress import evaluate
from edgekit.compress.distill import learn
from edgekit.compress.task import Task
from edgekit.compress.training import StepHook
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.step import StepReport
from edgekit.spec.training import Recovery


def recover(
    changed: Checkpoint,
    options: Recovery,
    task: Task,
    kind: str,
    started: float,
    *,
    remarks: tuple[str, ...] = (),
    before_step: StepHook | None = None,
    after_step: StepHook | None = None,
) -> StepReport:
    """Train ``changed`` for ``options.epochs`` (0: not at all) and save it; hooks as in ``distill.teach``."""
    if options.epochs:
        done = learn(changed, options, task, kind, started, before_step=before_step, after_step=after_step)
        return replace(done, remarks=(*done.remarks, *remarks))
    checkpoints.save(changed, task.out)
    return evaluate.untrained(kind, changed, task, started, remarks)
