"""A checkpoint → a smaller checkpoint, one step of the recipe at a time.

torch is imported by the functions below, not by this package.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgekit.compress.task import Task
from edgekit.data.samples import Sample, Samples
from edgekit.errors import MissingExtra
from edgekit.spec.progress import Report, quiet
from edgekit.spec.recipe import Step
from edgekit.spec.step import StepReport
from edgekit.spec.task import LANGUAGE, Pooling
from edgekit.spec.task import Task as Kind
from edgekit.spec.training import Training

__all__ = ["StepReport", "accuracy", "adopt", "apply"]


def apply(
    step: Step,
    checkpoint: Path,
    teacher: Path | None,
    samples: Samples,
    out: Path,
    *,
    lengths: Sequence[int],
    seed: int,
    teachers: Sequence[Path] = (),
    report: Report = quiet,
) -> StepReport:
    """Run one step on the folder ``checkpoint`` and write the folder ``out``, whole or not at all.

    Training keeps its state in ``<out>.work``, so that an interrupted step called again goes on where it was, to the
    very weights it would have reached uninterrupted; the folder goes when the step is done.

    Args:
        teacher: the fine-tuned model that ``distill`` and ``prune`` learn from; ``None`` takes ``checkpoint`` itself.
        teachers: more teachers, checkpoint folders, whose logits ``distill`` averages with the teacher's.
        lengths: the length buckets in tokens; texts are cut at the last one.

    Raises BuildError where the step cannot be applied to this model, or training diverges.
    """
    try:
        from edgekit.compress import cluster, distill, factor, finetune, hashing, prune, qat, share, vocabulary
        from edgekit.compress.training import settled
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "host") from error

    runs: dict[str, Callable[[Any, Task], StepReport]] = {
        "finetune": finetune.run,
        "vocabulary": vocabulary.run,
        "distill": distill.run,
        "prune": prune.run,
        "share": share.run,
        "factor": factor.run,
        "cluster": cluster.run,
        "hash": hashing.run,
        "qat": qat.run,
    }
    options = step.options
    if isinstance(options, Training) and options.seed is not None:
        seed = options.seed
    task = Task(checkpoint, teacher or checkpoint, samples, out, tuple(lengths), seed, report, tuple(teachers))
    with settled(seed):
        done = runs[step.kind](options, task)
    shutil.rmtree(task.work, ignore_errors=True)
    return done


def adopt(folder: Path, out: Path, task: Kind = LANGUAGE, pooling: Pooling | None = None) -> None:
    """Write the plain model in ``folder`` as a checkpoint for ``task``, the folder ``out``: every step then knows what
    it is. One that embeds pools its tokens by ``pooling``, or as it says itself. Raises BuildError where its family has
    no such models, or it is a checkpoint for another task."""
    try:
        from edgekit.models import checkpoint as checkpoints
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "host") from error

    checkpoints.save(checkpoints.load(folder, task=task, pooling=pooling), out)


def accuracy(checkpoint: Path, samples: Sequence[Sample], lengths: Sequence[int], report: Report = quiet) -> float:
    """Per cent of ``samples`` that the float module in ``checkpoint`` labels right, or of their next tokens."""
    try:
        from edgekit.compress import encoded, evaluate
        from edgekit.models import checkpoint as checkpoints
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "host") from error

    loaded = checkpoints.load(checkpoint)
    return evaluate.accuracy(loaded.module, encoded.encode(samples, loaded, lengths[-1]), report)
