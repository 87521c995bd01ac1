"""What each batch teaches: the passes that its losses need, each done once, and what is learned along with the student.

Projections between widths, auxiliary classifiers and the snapshot are helpers: trained or kept beside the student, in
the same state that training goes on from, and dropped when it is done.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import nn

from edgekit.compress import losses
from edgekit.compress.encoded import Batch, Encoded, batch, padding, places
from edgekit.compress.losses import LOSSES, Group, Lesson
from edgekit.compress.teacher import Answers
from edgekit.compress.trace import STATES, trace
from edgekit.errors import BuildError
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.task import LANGUAGE, NATURES, TOKENS
from edgekit.spec.training import Learning


@dataclass
class Lessons:
    """A loss for :func:`edgekit.compress.training.train`.

    Args:
        theirs: the texts as the teacher's tokenizer splits them; ``alike`` [texts] bool, where that is as the
            student's does.
        answers: the teachers' logits [texts, classes], or ``None`` where the teacher's own pass tells them, or nobody
            asks.
        embeddings: the teacher's [texts, hidden], where they are learned.

    Where each token has logits, the teacher is asked with each batch. Where a language model's vocabulary was trimmed,
    it learns how the teacher chooses among the tokens that are left.
    """

    student: Checkpoint
    teacher: Checkpoint
    options: Learning
    theirs: Encoded
    alike: torch.Tensor
    answers: torch.Tensor | None
    embeddings: torch.Tensor | None
    groups: list[Group]
    helpers: nn.ModuleDict = field(init=False)
    heads: int = field(init=False)
    by_token: bool = field(init=False)
    columns: torch.Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.helpers = helpers(self.student, self.teacher, self.options, len(self.groups))
        self.heads = _relation_heads(self.student, self.teacher, self.options)
        self.ours_seen = seen_inside(self.options, "ours")
        self.theirs_seen = seen_inside(self.options, "theirs")
        self.by_token = NATURES[self.student.task].by_token and "logits" in self.options.losses.active
        if self.by_token and self.student.task == LANGUAGE and self.student.tokenizer != self.teacher.tokenizer:
            self.columns = torch.tensor(places(self.student, self.teacher))

    def on(self, theirs: Encoded, alike: torch.Tensor, answers: Answers) -> Lessons:
        """The same lessons on other texts."""
        other = copy.copy(self)
        other.theirs, other.alike = theirs, alike
        other.answers, other.embeddings = answers.logits, answers.embeddings
        return other

    def __call__(self, one: Batch) -> torch.Tensor:
        """The weighted sum of losses on one batch, mean over its texts."""
        active = self.options.losses.active
        theirs = None
        if self.theirs_seen or self.by_token:
            # both padded alike, so that token stands beside token
            asked = batch(self.theirs, one.rows, one.input_ids.shape[1]).to(one.input_ids.device)
            if asked.input_ids.shape[1] > one.input_ids.shape[1]:
                one = one.padded(asked.input_ids.shape[1], padding(self.student))
            self.teacher.module.to(one.input_ids.device)
            with torch.no_grad():
                theirs = trace(self.teacher, asked, self.theirs_seen)
        answers = theirs.logits if theirs is not None and self.answers is None else _rows(self.answers, one)
        if answers is not None and self.columns is not None:
            answers = answers[..., self.columns.to(answers.device)]
        lesson = Lesson(
            self.options,
            one.labels,
            one.attention_mask.float(),
            trace(self.student, one, self.ours_seen),
            self.helpers,
            _rows(self.alike, one),
            theirs,
            answers,
            _rows(self.embeddings, one),
            self._snapshot(one) if "snapshot" in active else None,
            self._folded(one, theirs.inputs) if theirs is not None and "fold" in active else (),
            self.groups,
            self.heads,
            self.student.task == TOKENS,
        )
        return losses.total(lesson)

    def after_step(self, step: int) -> None:
        """Move the snapshot on: what stays of it is less in the first steps, whose weights are soon outdated."""
        if "snapshot" not in self.helpers:
            return
        stays = min(self.options.snapshot_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            snapshot = self.helpers["snapshot"]
            for mean, now in zip(snapshot.parameters(), self.student.module.parameters(), strict=True):
                mean.lerp_(now, 1 - stays)
            for kept, buffer in zip(snapshot.buffers(), self.student.module.buffers(), strict=True):
                kept.copy_(buffer)

    def _snapshot(self, one: Batch) -> torch.Tensor:
        with torch.no_grad():
            snapshot = self.helpers["snapshot"].eval()
            logits: torch.Tensor = snapshot(one.input_ids, one.attention_mask).logits
        return logits

    def _folded(self, one: Batch, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        fed = [
            losses.project(self.helpers, "enter", number, inputs[group.first])
            for number, group in enumerate(self.groups)
        ]
        return trace(self.student, one, {STATES}, fed).outputs


def helpers(student: Checkpoint, teacher: Checkpoint, options: Learning, count: int) -> nn.ModuleDict:
    """What the losses need beside the student; new weights come from the global random state.

    Raises BuildError where there is no shallower layer that the deepest could teach.
    """
    ours, theirs = student.structure.hidden, teacher.structure.hidden
    active = set(options.losses.active)
    found = nn.ModuleDict()
    if ours != theirs:
        for name in ("hidden", "fold", "embedding"):
            if name in active:
                number = 1 if name == "embedding" else count
                found[name] = nn.ModuleList(nn.Linear(ours, theirs) for _ in range(number))
        if "fold" in active:
            found["enter"] = nn.ModuleList(nn.Linear(theirs, ours) for _ in range(count))
    if "self" in active:
        deeper = len(student.structure.layers) - 1
        if not deeper:
            raise BuildError(
                "the student has one layer: no shallower one for it to teach",
                where="$.compress losses.self",
                given="1 layer",
                allowed="2 layers or more",
            )
        found["self"] = nn.ModuleList(nn.Linear(ours, len(student.labels)) for _ in range(deeper))
    if "snapshot" in active:
        found["snapshot"] = copy.deepcopy(student.module).requires_grad_(False)
    return found


def seen_inside(options: Learning, side: str) -> Collection[str]:
    """What of the student's (``ours``) or the teacher's pass (``theirs``) the losses look at."""
    return frozenset().union(*(getattr(LOSSES[name], side) for name in options.losses.active))


def _relation_heads(student: Checkpoint, teacher: Checkpoint, options: Learning) -> int:
    if not options.losses.relations:
        return 1
    layers = teacher.structure.layers
    chosen = len(layers) - 1 if options.relation_layer is None else options.relation_layer
    if chosen >= len(layers):
        raise BuildError(
            "the teacher has no such layer",
            where="$.compress relation_layer",
            given=chosen,
            allowed=f"0 to {len(layers) - 1}",
        )
    widths = (
        student.structure.layers[-1].heads * student.structure.head_size,
        layers[chosen].heads * teacher.structure.head_size,
    )
    if options.relation_heads is None:
        return max(one for one in range(1, layers[chosen].heads + 1) if not any(width % one for width in widths))
    if any(width % options.relation_heads for width in widths):
        raise BuildError(
            "the relations' heads do not divide the width of student and teacher both",
            where="$.compress relation_heads",
            given=options.relation_heads,
            allowed=f"what divides {widths[0]} and {widths[1]}",
        )
    return options.relation_heads


def _rows(values: torch.Tensor | None, one: Batch) -> torch.Tensor | None:
    return None if values is None else values[one.rows].to(one.input_ids.device)
