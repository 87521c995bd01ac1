"""What a student can learn from: one function a loss, each gives one value a text.

A value a text, not a mean over the batch: texts weigh the same however they are batched, so that gradients accumulated
over small batches are those of a big one. A text that a loss says nothing about has the value 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.functional import cosine_similarity, kl_div, log_softmax, softmax

from edgekit.compress.encoded import UNLABELED
from edgekit.compress.evaluate import nll
from edgekit.compress.trace import MAPS, PROJECTIONS, STATES, Trace
from edgekit.spec.training import Learning

#: Attention under this is none: its logarithm would be endless where dropout has cut it.
TINY = 1e-7
#: The logarithm of no share at all; finite, so that nothing minus nothing is still a number.
NOTHING = -1e9


@dataclass(frozen=True)
class Group:
    """The teacher's layers ``first`` to ``last`` (places in its stack), that one layer of the student stands in for."""

    first: int
    last: int


@dataclass(frozen=True)
class Lesson:
    """One batch, as its losses see it; what no loss asked for is empty.

    ``labels`` [batch] int64, where each token has one [batch, length], and only words' first tokens where answers are
    ``by_word``; ``mask`` [batch, length] 1 for tokens, ``alike`` [batch] 1 where student and teacher split the text
    into the same tokens. ``answers`` are the teachers' logits [batch, classes], where each token has some [batch,
    length, classes or the student's tokens]; ``embeddings`` the teacher's
    [batch, hidden], ``snapshot`` the snapshot's logits; ``folded`` what each student layer makes of the teacher's own
    states; ``groups`` one a student layer; ``heads`` how many the relations are split into; ``helpers`` what is
    learned along and dropped afterwards.
    """

    options: Learning
    labels: torch.Tensor
    mask: torch.Tensor
    ours: Trace
    helpers: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    alike: torch.Tensor | None = None
    theirs: Trace | None = None
    answers: torch.Tensor | None = None
    embeddings: torch.Tensor | None = None
    snapshot: torch.Tensor | None = None
    folded: Sequence[torch.Tensor] = ()
    groups: Sequence[Group] = ()
    heads: int = 1
    by_word: bool = False

    @property
    def teacher(self) -> Trace:
        """The teacher's pass, for a loss that needs it."""
        assert self.theirs is not None
        return self.theirs

    @property
    def answered(self) -> torch.Tensor:
        """[batch, length] 1 for the tokens whose logits are answers: all, or where words are labelled their first."""
        return (self.labels != UNLABELED).float() if self.by_word else self.mask

    def mean(self, values: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """[batch, length] → [batch]: mean over a text's tokens (those in ``mask``), 0 where they are not the
        teacher's."""
        each = self.over_tokens(values, mask)
        return each if self.alike is None else each * self.alike

    def over_tokens(self, values: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """[batch, length] → [batch]: mean over a text's tokens (those in ``mask``)."""
        chosen = self.mask if mask is None else mask
        return (values * chosen).sum(1) / chosen.sum(1).clamp(min=1)


def label(one: Lesson) -> torch.Tensor:
    """Cross-entropy with the label, or the mean of those with a text's next tokens, or its words' tags."""
    return surprise(one.ours.logits, one.labels)


def surprise(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """[batch]: the negative log-likelihood of a text's label, or the mean over its labelled tokens."""
    values = nll(logits, labels)
    return values if values.dim() == 1 else values.sum(1) / (labels >= 0).sum(1).clamp(min=1)


def logits(one: Lesson) -> torch.Tensor:
    """T²·KL(teachers ‖ student) at temperature T (Hinton, Vinyals & Dean 2015); of a language model at each token,
    where words are labelled at each word's first."""
    assert one.answers is not None
    values = softened(one.ours.logits, one.answers, one.options.temperature)
    return values if values.dim() == 1 else one.mean(values, one.answered)


def hidden(one: Lesson) -> torch.Tensor:
    """Mean squared distance of each layer's output from its group's, projected where widths differ (Jiao 2020)."""
    total = torch.zeros_like(one.mask[:, 0])
    for number, group in enumerate(one.groups):
        ours = project(one.helpers, "hidden", number, one.ours.outputs[number])
        total = total + one.mean((ours - one.teacher.outputs[group.last]).float().square().mean(-1))
    return total / len(one.groups)


def attention(one: Lesson) -> torch.Tensor:
    """KL(teacher's ‖ student's attention map) of each group's last layer (Sun 2020), mean over heads and tokens."""
    total = torch.zeros_like(one.mask[:, 0])
    for number, group in enumerate(one.groups):
        ours, theirs = one.ours.maps[number].float(), one.teacher.maps[group.last].float()
        if ours.shape[1] != theirs.shape[1]:
            ours, theirs = ours.mean(1, keepdim=True), theirs.mean(1, keepdim=True)
        logarithms = ours.clamp(min=TINY).log(), theirs.clamp(min=TINY).log()
        each = kl_div(*logarithms, reduction="none", log_target=True).sum(-1).mean(1)
        total = total + one.mean(each)
    return total / len(one.groups)


def relations(one: Lesson) -> torch.Tensor:
    """KL between scaled dot products of queries with queries, keys with keys, values with values (MiniLMv2, Wang 2021),
    split into heads of their own: the student may have other widths and other heads."""
    place = one.options.relation_layer
    chosen = one.groups[-1].last if place is None else place
    total = torch.zeros_like(one.mask[:, 0])
    for kind in ("queries", "keys", "values"):
        ours, theirs = getattr(one.ours, kind)[-1].float(), getattr(one.teacher, kind)[chosen].float()
        mine, wanted = relation(ours, one.heads, one.mask), relation(theirs, one.heads, one.mask)
        total = total + one.mean(kl_div(mine, wanted, reduction="none", log_target=True).sum(-1).mean(1))
    return total / 3


def self_taught(one: Lesson) -> torch.Tensor:
    """The shallower layers' auxiliary classifiers learn the deepest one's logits (Zhang 2019)."""
    deepest = one.ours.logits.detach()
    heads = one.helpers["self"]
    assert isinstance(heads, nn.ModuleList)
    total = torch.zeros_like(one.mask[:, 0])
    for head, output in zip(heads, one.ours.outputs, strict=False):
        total = total + softened(head(pooled(output, one.mask)), deepest, one.options.temperature)
    return total / len(heads)


def snapshot(one: Lesson) -> torch.Tensor:
    """T²·KL(snapshot ‖ student): the mean of its own past weights teaches it (Tarvainen & Valpola 2017)."""
    assert one.snapshot is not None
    values = softened(one.ours.logits, one.snapshot, one.options.temperature)
    return values if values.dim() == 1 else one.over_tokens(values, one.answered)


def fold(one: Lesson) -> torch.Tensor:
    """Each layer, fed with what its group was given in the teacher, gives what the group gave."""
    total = torch.zeros_like(one.mask[:, 0])
    for number, group in enumerate(one.groups):
        ours = project(one.helpers, "fold", number, one.folded[number])
        total = total + one.mean((ours - one.teacher.outputs[group.last]).float().square().mean(-1))
    return total / len(one.groups)


def embedding(one: Lesson) -> torch.Tensor:
    """1 - cosine of the texts' mean hidden states; no labels, no classifier, any tokens."""
    assert one.embeddings is not None
    ours = project(one.helpers, "embedding", 0, pooled(one.ours.outputs[-1], one.mask))
    return 1 - cosine_similarity(ours.float(), one.embeddings, dim=-1)


@dataclass(frozen=True)
class Term:
    """A loss: its values a text, what it needs to see inside the student's pass, and inside the teacher's."""

    values: Callable[[Lesson], torch.Tensor]
    ours: frozenset[str] = frozenset()
    theirs: frozenset[str] = frozenset()


#: Every loss by its name in the recipe.
LOSSES: dict[str, Term] = {
    "label": Term(label),
    "logits": Term(logits),
    "hidden": Term(hidden, frozenset({STATES}), frozenset({STATES})),
    "attention": Term(attention, frozenset({MAPS}), frozenset({MAPS})),
    "relations": Term(relations, frozenset({PROJECTIONS}), frozenset({PROJECTIONS})),
    "self": Term(self_taught, frozenset({STATES})),
    "snapshot": Term(snapshot),
    "fold": Term(fold, frozenset(), frozenset({STATES})),
    "embedding": Term(embedding, frozenset({STATES})),
}


def total(one: Lesson) -> torch.Tensor:
    """The weighted sum of the recipe's losses, mean over the batch's texts."""
    weights = one.options.losses.weights()
    return torch.stack([weights[name] * LOSSES[name].values(one).mean() for name in one.options.losses.active]).sum()


def softened(ours: torch.Tensor, theirs: torch.Tensor, heat: float) -> torch.Tensor:
    """T²·KL(theirs ‖ ours) of logits [..., classes] at temperature ``heat``; [...]. T² keeps gradients in scale."""
    divergence = kl_div(log_softmax(ours.float() / heat, -1), softmax(theirs.float() / heat, -1), reduction="none")
    return heat * heat * divergence.sum(-1)


def relation(states: torch.Tensor, heads: int, mask: torch.Tensor) -> torch.Tensor:
    """Log-softmax of the scaled dot products of ``states`` [batch, length, width] with themselves, as if padding were
    not there; [batch, heads, length, length]."""
    split = states.unflatten(-1, (heads, -1)).transpose(1, 2)
    products = split @ split.transpose(-1, -2) / math.sqrt(split.shape[-1])
    return log_softmax(products.masked_fill(mask[:, None, None, :] == 0, NOTHING), -1)


def pooled(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[batch, length, hidden] → [batch, hidden]: mean over a text's tokens."""
    shares = mask / mask.sum(1, keepdim=True).clamp(min=1)
    return (states * shares.unsqueeze(-1).to(states.dtype)).sum(1)


def project(helpers: nn.ModuleDict, name: str, number: int, states: torch.Tensor) -> torch.Tensor:
    """Through the learned projection ``name`` of layer ``number``, where widths differ and there is one."""
    if name not in helpers:
        return states
    projections = helpers[name]
    assert isinstance(projections, nn.ModuleList)
    projected: torch.Tensor = projections[number](states)
    return projected
