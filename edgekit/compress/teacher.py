"""Who teaches: the recipe's own teacher, and others whose logits are averaged with it.

What a teacher answers whatever the student knows is asked once, and kept in the work folder for a step that is resumed.
The inside of its pass, which would fill the disk, is asked with each batch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from edgekit.compress.encoded import Encoded, encode, in_order
from edgekit.compress.evaluate import FEW, SIZE
from edgekit.compress.losses import Group, pooled
from edgekit.compress.trace import STATES, trace
from edgekit.data.samples import Sample
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint, fingerprint
from edgekit.spec import codec
from edgekit.spec.progress import Report
from edgekit.spec.task import CLASSIFY, Task


@dataclass(frozen=True)
class Answers:
    """On all texts, by row: ``logits`` [texts, classes] and the ``embeddings`` [texts, hidden], or ``None``."""

    logits: torch.Tensor | None
    embeddings: torch.Tensor | None


def load(folder: Path, labels: Sequence[str] | None, task: Task = CLASSIFY) -> Checkpoint:
    """A teacher. Raises BuildError where it is for another task, or does not know ``labels`` in this order (``None``:
    whatever it knows)."""
    teacher = checkpoints.load(folder, task=task)
    if labels is not None and teacher.labels != tuple(labels):
        raise BuildError(
            "teacher and student know different labels", where=str(folder), given=teacher.labels, allowed=tuple(labels)
        )
    return teacher


def mean_logits(
    teachers: Sequence[Checkpoint],
    weights: Sequence[float],
    texts: Sequence[Sample],
    length: int,
    work: Path,
    report: Report,
) -> torch.Tensor:
    """The weighted mean of the teachers' logits on ``texts``, each split by its own tokenizer; [texts, classes]."""
    total = sum(weights)
    mean = torch.zeros(())
    for teacher, weight in zip(teachers, weights, strict=True):
        logits = answers(teacher, encode(texts, teacher, length), False, work, report).logits
        assert logits is not None
        mean = mean + weight / total * logits
    return mean


def answers(teacher: Checkpoint, data: Encoded, embeddings: bool, work: Path, report: Report) -> Answers:
    """What the teacher answers on all texts, from ``work`` where it was asked before; the embeddings alone where it has
    logits for each token."""
    key = codec.digest([fingerprint(teacher), data.ids, embeddings])
    file = work / f"answers-{key[:16]}.safetensors"
    if not file.is_file():
        work.mkdir(parents=True, exist_ok=True)
        save_file(_ask(teacher, data, embeddings, report), file.with_suffix(".new"))
        os.replace(file.with_suffix(".new"), file)
    with safe_open(file, "pt") as kept:
        found = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118, it is no mapping
    return Answers(found.get("logits"), found.get("embeddings"))


def _ask(teacher: Checkpoint, data: Encoded, embeddings: bool, report: Report) -> dict[str, torch.Tensor]:
    names = (["logits"] if teacher.task == CLASSIFY else []) + (["embeddings"] if embeddings else [])
    found: dict[str, list[torch.Tensor]] = {name: [torch.empty(0)] * len(data) for name in names}
    done = 0
    teacher.module.eval()
    with torch.inference_mode():
        for batch in in_order(data, SIZE if teacher.task == CLASSIFY else FEW):
            seen = trace(teacher, batch, {STATES} if embeddings else ())
            told = {"logits": seen.logits}
            if embeddings:
                told["embeddings"] = pooled(seen.outputs[-1], batch.attention_mask)
            for name in names:
                for row, one in zip(batch.rows, told[name], strict=True):
                    found[name][row] = one
            done += len(batch.rows)
            report(f"teacher: {done} of {len(data)} texts", done / len(data))
    return {name: torch.stack(rows).clone() for name, rows in found.items()}


def groups(student: Checkpoint, teacher: Checkpoint) -> list[Group]:
    """Which of the teacher's layers each of the student's stands in for: from its own to the next one's, so that it
    learns to hand on what that one was given; the first also for those before it, the last for all that remain.

    Raises BuildError where the student's layers are not all the teacher's.
    """
    place = {layer: number for number, layer in enumerate(teacher.teacher_layers)}
    if not set(student.teacher_layers) <= set(place):
        raise BuildError(
            "the student has layers that its teacher lacks",
            given=student.teacher_layers,
            allowed=teacher.teacher_layers,
        )
    if len(set(student.teacher_layers)) < len(student.teacher_layers):
        raise BuildError(
            "the student has more layers than its teacher: some stand in for none",
            where="$.compress losses",
            given=len(student.teacher_layers),
            allowed=f"up to {len(place)} layers",
            remedy="give hidden, attention, relations and fold the weight 0",
        )
    starts = [0, *(place[one] for one in student.teacher_layers[1:]), len(place)]
    return [Group(first, after - 1) for first, after in pairwise(starts)]
