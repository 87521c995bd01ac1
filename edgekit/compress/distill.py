"""A student made of chosen teacher layers learns the teacher's logits and hidden states.

Logits: Hinton et al. 2015. Hidden states: each student layer learns to hand on what the teacher's next kept layer was
given, so that it stands in for all the teacher layers in between; the last one learns the teacher's last output.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from edgekit.compress import evaluate
from edgekit.compress.encoded import Batch, Encoded, batch, encode
from edgekit.compress.report import StepReport
from edgekit.compress.task import Task
from edgekit.compress.training import Loss, train
from edgekit.data.samples import Sample
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint, fingerprint
from edgekit.spec import codec
from edgekit.spec.distill import Distill
from edgekit.spec.training import Learning

#: The label of a text that has none.
UNLABELED = -1


def run(options: Distill, task: Task) -> StepReport:
    """The student keeps the layers ``options.layers`` of the task's checkpoint, its embeddings and its classifier."""
    started = time.monotonic()
    student = checkpoints.load(task.checkpoint)
    if options.layers:
        keep_layers(student, options.layers)
    return learn(student, options, task, "distill", started)


def keep_layers(checkpoint: Checkpoint, kept: Sequence[int]) -> None:
    """Leave only the layers with the indices ``kept``, in place. Raises BuildError for a layer the model lacks."""
    layers = list(checkpoint.family.layers(checkpoint.module))
    beyond = [one for one in kept if not 0 <= one < len(layers)]
    if beyond:
        raise BuildError(
            "the model has no such layer",
            given=", ".join(str(one) for one in beyond),
            allowed=f"layers 0 to {len(layers) - 1}",
            where="$.compress distill.layers",
            remedy="layers count from 0",
        )
    checkpoint.family.set_layers(checkpoint.module, [layers[one] for one in kept])
    checkpoint.teacher_layers = tuple(checkpoint.teacher_layers[one] for one in kept)


def learn(student: Checkpoint, options: Learning, task: Task, kind: str, started: float) -> StepReport:
    """Train ``student`` in place from the task's teacher, and save it. Used to distill and to recover from pruning."""
    teacher = checkpoints.load(task.teacher)
    if teacher.labels != student.labels:
        raise BuildError("teacher and student know different labels", given=student.labels, allowed=teacher.labels)
    last = task.lengths[-1]
    texts = [*task.samples.train, *(Sample(one, UNLABELED) for one in task.samples.unlabeled)]
    data = encode(texts, student, last)
    theirs = encode(texts, teacher, last)
    if options.losses.hidden:
        loss = _with_hidden(student, teacher, data, theirs, options)
    else:
        loss = _with_logits(student.module, _answers(teacher, theirs, task), options)
    trained = train(
        student.module,
        options,
        data,
        encode(task.samples.validation, student, last),
        loss,
        work=task.work,
        identity=codec.digest([kind, fingerprint(student), fingerprint(teacher)]),
        seed=task.seed,
        report=task.report,
    )
    checkpoints.save(student, task.out)
    return StepReport(
        kind,
        student.parameters,
        max(trained.accuracies),
        len(trained.losses),
        tuple(trained.losses),
        time.monotonic() - started,
    )


def soft_loss(logits: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, options: Learning) -> torch.Tensor:
    """``label·CE + logits·T²·KL(teacher ‖ student)``, mean over the batch; logits are [batch, classes].

    A text labelled ``UNLABELED`` has no CE, and counts in the batch all the same: every text weighs the same.
    """
    heat, weights = options.temperature, options.losses
    divergence = kl_div(log_softmax(logits / heat, -1), softmax(teacher / heat, -1), reduction="batchmean")
    hard = cross_entropy(logits, labels, ignore_index=UNLABELED, reduction="sum") / len(labels)
    return weights.label * hard + weights.logits * heat * heat * divergence


def _answers(teacher: Checkpoint, data: Encoded, task: Task) -> torch.Tensor:
    """The teacher's logits on all training texts: asked once, kept in the work folder for a step that is resumed."""
    file = task.work / "answers.safetensors"
    key = codec.digest([fingerprint(teacher), data.ids])
    if file.is_file():
        with safe_open(file, "pt") as kept:
            if kept.metadata() == {"key": key}:
                answers: torch.Tensor = kept.get_tensor("logits")
                return answers
    task.work.mkdir(parents=True, exist_ok=True)
    answers = evaluate.logits(teacher.module, data, lambda message, done: task.report(f"teacher: {message}", done))
    save_file({"logits": answers}, file.with_suffix(".new"), metadata={"key": key})
    os.replace(file.with_suffix(".new"), file)
    return answers


def _with_logits(module: Any, answers: torch.Tensor, options: Learning) -> Loss:
    def loss(one: Batch) -> torch.Tensor:
        logits = module(one.input_ids, one.attention_mask).logits
        return soft_loss(logits, answers[one.rows], one.labels, options)

    return loss


def _with_hidden(student: Checkpoint, teacher: Checkpoint, data: Encoded, theirs: Encoded, options: Learning) -> Loss:
    if [len(one) for one in data.ids] != [len(one) for one in theirs.ids]:
        raise BuildError(
            "hidden states cannot be compared: the student's vocabulary splits the training texts otherwise",
            where="$.compress losses.hidden",
            remedy="set hidden: 0, or vocabulary's min_count: 1",
        )
    pairs = hidden_pairs(student, teacher)

    def loss(one: Batch) -> torch.Tensor:
        with torch.no_grad():
            asked = batch(theirs, one.rows)
            truth = teacher.module(asked.input_ids, asked.attention_mask, output_hidden_states=True)
        answer = student.module(one.input_ids, one.attention_mask, output_hidden_states=True)
        mask = one.attention_mask.unsqueeze(-1).to(answer.logits.dtype)
        distance = torch.zeros(())
        for ours, wanted in pairs:
            squares = (answer.hidden_states[ours] - truth.hidden_states[wanted]) ** 2
            distance = distance + (squares * mask).sum() / (mask.sum() * squares.shape[-1] * len(pairs))
        return soft_loss(answer.logits, truth.logits, one.labels, options) + options.losses.hidden * distance

    return loss


def hidden_pairs(student: Checkpoint, teacher: Checkpoint) -> list[tuple[int, int]]:
    """Which of the student's ``hidden_states`` learns from which of the teacher's (number 0 is the embeddings').

    Raises BuildError where the student's layers are not all the teacher's.
    """
    place = {layer: number for number, layer in enumerate(teacher.teacher_layers)}
    if not set(student.teacher_layers) <= set(place):
        raise BuildError(
            "the student has layers that its teacher lacks",
            given=student.teacher_layers,
            allowed=teacher.teacher_layers,
        )
    nexts = [place[one] for one in student.teacher_layers[1:]] + [len(place)]
    return [(number + 1, wanted) for number, wanted in enumerate(nexts)]
