"""Cut what matters least, then recover by distillation from the teacher, or do both at once on a schedule."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from edgekit.compress import evaluate
from edgekit.compress.distill import keep_layers, teach
from edgekit.compress.encoded import Encoded, encode
from edgekit.compress.pruning import candidates, gates, importance, schedule, sparse, weights, widths
from edgekit.compress.task import Task
from edgekit.compress.training import Progress, reported
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.prune import Prune
from edgekit.spec.step import StepReport


def run(options: Prune, task: Task) -> StepReport:
    """Cut and recover as ``options`` say, and save.

    Raises BuildError where the model has less than is to be kept, or a block does not divide its matrices.
    """
    started = time.monotonic()
    loaded = checkpoints.load(task.checkpoint)
    check(options, loaded)
    texts = random.Random(task.seed).sample(task.samples.train, min(options.samples, len(task.samples.train)))
    data = encode(texts, loaded, task.lengths[-1])
    if options.layers is not None:
        scores = importance.layers(options.criterion, loaded, data, task.seed)
        keep_layers(loaded, sorted(set(range(len(scores))) - set(widths.lowest(scores, len(scores) - options.layers))))
    trained, remarks = (_to_zero if options.sparsity is not None else _to_fewer)(loaded, options, data, task)
    checkpoints.save(loaded, task.out)
    if options.sparsity is not None:
        remarks += (_of_transfer(task),)
    if trained is not None:
        return replace(reported("prune", loaded, trained, started), remarks=remarks)
    return evaluate.untrained("prune", loaded, task, started, remarks)


def check(options: Prune, checkpoint: Checkpoint) -> None:
    """Raise BuildError where more is to be kept than there is."""
    structure = checkpoint.structure
    there = {
        "heads": min(one.heads for one in structure.layers),
        "ffn": min(one.ffn for one in structure.layers),
        "hidden": structure.hidden,
        "layers": len(structure.layers),
    }
    for name, most in there.items():
        wanted = getattr(options, name)
        if wanted is not None and wanted > most:
            raise BuildError(
                f"more {name} are to be kept than the model has",
                where=f"$.compress prune.{name}",
                given=wanted,
                allowed=f"1 to {most}",
            )


def _to_fewer(
    checkpoint: Checkpoint, options: Prune, data: Encoded, task: Task
) -> tuple[Progress | None, tuple[str, ...]]:
    """Fewer heads, neurons, and elements of the stream: the matrices shrink."""
    if not set(options.cuts) & set(widths.KINDS):
        return _recovered(checkpoint, options, task), ()
    trained = None
    with widths.prepared(checkpoint, options, data, task.seed, task.report) as cut:
        if options.candidates:
            candidates.choose(checkpoint, cut, data, options.candidates, task.seed, task.report)
        elif options.schedule == "once":
            cut.close(1.0)
        else:
            trained = schedule.train(checkpoint, options, task, cut.close, partial(gates.save, checkpoint))
        chosen = [(gate.group, gate.kept) for gate in cut.gates]
    widths.shrink(checkpoint, chosen)
    remarks = tuple(
        f"{one.kind} kept: {', '.join(str(len(gate.kept)) for gate in one.gates)} of {', '.join(map(str, one.units))}"
        for one in cut.widths
    )
    return trained or _recovered(checkpoint, options, task), remarks


def _to_zero(
    checkpoint: Checkpoint, options: Prune, data: Encoded, task: Task
) -> tuple[Progress | None, tuple[str, ...]]:
    """Single weights become zero, and stay zero while the others recover: the matrices keep their size."""
    keep = partial(weights.save, checkpoint)
    with sparse.prepared(checkpoint, options, data, task.seed, task.report) as zeros:
        if options.schedule == "once":
            zeros.close(1.0)
            trained = _recovered(checkpoint, options, task, keep)
        else:
            trained = schedule.train(checkpoint, options, task, zeros.close, keep)
        share = zeros.share
    return trained, (f"{100 * share:.2f} % of the layers' weights are zero; dense kernels compute no faster from it",)


def _recovered(
    checkpoint: Checkpoint, options: Prune, task: Task, keep: Callable[[Path], None] | None = None
) -> Progress | None:
    return teach(checkpoint, options, task, "prune", keep=keep) if options.epochs else None


def _of_transfer(task: Task) -> str:
    _, before = sparse.deflated(task.checkpoint)
    size, after = sparse.deflated(task.out)
    return f"{size / 1e6:.2f} MB of weights deflate to {after / 1e6:.2f} MB for transfer, {before / 1e6:.2f} MB before"
