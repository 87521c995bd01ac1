"""A student learns from its teacher: from its answers, and from what goes on inside it, by any sum of losses.

:func:`teach` trains any changed checkpoint from the teacher and :func:`learn` saves it as well: every step that
recovers what a cut has cost calls one of them.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from edgekit.compress import augment, lessons, memory, teacher
from edgekit.compress.encoded import UNLABELED, Batch, alike, batch, encode, in_order
from edgekit.compress.evaluate import SIZE
from edgekit.compress.lessons import Lessons
from edgekit.compress.reading import first_token_only
from edgekit.compress.student import TEXTS, keep_layers, start
from edgekit.compress.task import Task
from edgekit.compress.trace import MAPS, eager
from edgekit.compress.training import Progress, StepHook, reported, train
from edgekit.data.samples import Sample
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint, fingerprint
from edgekit.spec import codec
from edgekit.spec.distill import Distill
from edgekit.spec.step import StepReport
from edgekit.spec.task import EMBED, NATURES
from edgekit.spec.training import Learning

__all__ = ["keep_layers", "learn", "run", "teach"]


def run(options: Distill, task: Task) -> StepReport:
    """The student starts from the task's checkpoint as ``options`` say, and learns from the teachers."""
    started = time.monotonic()
    # without a loss that needs it, a plain model's student gets a new classifier, for a finetune that comes later
    labels = () if options.losses.classify else task.samples.labels
    student = checkpoints.load(task.checkpoint, labels, task.samples.task)
    start(student, options, lambda: _some(student, task), task.lengths[-1])
    return learn(student, options, task, "distill", started, weights=options.teacher_weights)


def learn(
    student: Checkpoint,
    options: Learning,
    task: Task,
    kind: str,
    started: float,
    *,
    weights: Sequence[float] = (),
    before_step: StepHook | None = None,
    after_step: StepHook | None = None,
) -> StepReport:
    """:func:`teach` the student and save it as the step's result; every step that recovers calls this."""
    trained = teach(student, options, task, kind, weights=weights, before_step=before_step, after_step=after_step)
    checkpoints.save(student, task.out)
    return reported(kind, student, trained, started)


def teach(
    student: Checkpoint,
    options: Learning,
    task: Task,
    kind: str,
    *,
    weights: Sequence[float] = (),
    before_step: StepHook | None = None,
    after_step: StepHook | None = None,
    first: int = 0,
    keep: Callable[[Path], None] | None = None,
) -> Progress:
    """Train ``student`` in place from the task's teachers; nothing is saved but the state to go on from.

    The student is only ever asked by calling ``student.module``: parts of it may be replaced by modules that compute
    otherwise (masks, fake quantization), as long as parameters and state keep their names while it trains.

    Args:
        weights: of the teacher and each of ``task.teachers`` in the mean of their logits; none: all the same.
        before_step, after_step: called just before and after each step of the optimizer with its number (from 0, over
            all epochs) and the number of all steps. Gradients are there, summed and clipped, before and after. They
            may change parameters, gradients and registered buffers in place: those are in the state. All else they
            know must follow from the step's number, for a resumed training starts in the middle. They must not add or
            remove parameters, nor draw random numbers but from torch's global generator, which is in the state.
        first: the first epoch (from 0) whose end can be the best; by then a schedule must have come to its end.
        keep: saves the student as a folder that loads again, should training diverge; left out, as it is.

    Raises BuildError where teacher and student do not fit each other or the losses, it does not fit into memory, or
    training diverges.
    """
    active, last = options.losses.active, task.lengths[-1]
    if "label" in active and student.labels != task.samples.labels:
        raise BuildError("the student knows other labels", given=student.labels, allowed=task.samples.labels)
    labels = student.labels if options.losses.logits else None
    main, *others = (teacher.load(one, labels, student.task) for one in (task.teacher, *task.teachers))
    texts = _texts(options, task)
    theirs = encode(texts, main, last)
    data = encode(texts, student, last)
    memory.check(student.structure, student.parameters, options, max(len(one) for one in data.ids))
    inside = lessons.seen_inside(options, "theirs")
    by_token = NATURES[student.task].by_token
    beside = inside or (by_token and "logits" in active)
    same = _alike(texts, student, main, last) if beside else [True] * len(texts)
    answers = embeddings = None
    if "logits" in active and not by_token and (others or not inside):
        taught_by = [main, *others]
        shares = weights or [1.0] * len(taught_by)
        answers = teacher.mean_logits(taught_by, shares, texts, last, task.work, task.report)
    if "embedding" in active:
        embeddings = teacher.answers(main, theirs, True, task.work, task.report).embeddings
    groups = teacher.groups(student, main) if inside else []
    # models that are loaded draw weights: how many teachers there are is not to change what dropout drops
    torch.manual_seed(task.seed)
    taught = Lessons(student, main, options, theirs, torch.tensor(same), answers, embeddings, groups)

    def after(step: int, steps: int) -> None:
        if after_step is not None:
            after_step(step, steps)
        taught.after_step(step)

    with contextlib.ExitStack() as ways:
        if MAPS in inside:
            ways.enter_context(eager(student.module, main.module))
        # what a step hooks in, and what looks at its layers, is given all tokens
        if not (before_step or after_step or lessons.seen_inside(options, "ours") or "fold" in active):
            ways.enter_context(first_token_only(student))
        return train(
            student.module,
            options,
            data,
            encode(task.samples.validation, student, last),
            taught,
            work=task.work,
            identity=codec.digest(
                [kind, fingerprint(student), *(fingerprint(one) for one in (main, *others)), list(weights)]
            ),
            seed=task.seed,
            helpers=taught.helpers,
            score=None if main.labels == task.samples.labels and student.task != EMBED else _likeness(taught, task),
            keep=keep or (lambda folder: checkpoints.save(student, folder)),
            before_step=before_step,
            after_step=after,
            first=first,
            report=task.report,
        )


def _texts(options: Learning, task: Task) -> list[Sample]:
    """What is learned on: the training texts, those without labels, and changed copies of the first, none of which
    happens to be a text that is held out."""
    train, others = [one.text for one in task.samples.train], task.samples.unlabeled
    held = {one.text.lower() for one in (*task.samples.validation, *task.samples.test)}
    made = [one for one in augment.copies(train, options.augment, task.seed, others) if one.lower() not in held]
    return [*task.samples.train, *(Sample(one, UNLABELED) for one in (*others, *made))]


def _alike(texts: Sequence[Sample], student: Checkpoint, main: Checkpoint, length: int) -> list[bool]:
    same = alike([one.text for one in texts], student, main, length)
    if not any(same):
        raise BuildError(
            "the insides of student and teacher cannot be compared: their tokenizers split no text alike",
            where="$.compress losses",
            remedy="give hidden, attention, relations and fold the weight 0, or lower vocabulary's min_count to 1",
        )
    return same


def _some(student: Checkpoint, task: Task) -> Batch:
    drawn = random.Random(task.seed).sample(task.samples.train, min(TEXTS, len(task.samples.train)))
    data = encode(drawn, student, task.lengths[-1])
    return batch(data, list(range(len(data))))


def _likeness(taught: Lessons, task: Task) -> Callable[[], float]:
    """How well the student of a teacher does that knows no labels of this task, or where there are none: 100·e^-loss on
    the validation texts."""
    texts, last = [Sample(one.text, UNLABELED) for one in task.samples.validation], task.lengths[-1]
    data, theirs = encode(texts, taught.student, last), encode(texts, taught.teacher, last)
    held = taught.on(
        theirs,
        torch.tensor(alike([one.text for one in texts], taught.student, taught.teacher, last)),
        teacher.answers(taught.teacher, theirs, True, task.work, task.report),
    )

    def score() -> float:
        module = taught.student.module
        module.eval()
        with torch.no_grad():
            here = next(module.parameters()).device
            losses = [held(one.to(here)).item() * len(one.rows) for one in in_order(data, SIZE)]
        module.train()
        return 100 * math.exp(-sum(losses) / len(texts))

    return score
