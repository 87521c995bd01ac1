"""Fewer heads, narrower feed-forward nets, a narrower stream: which units go, now or gradually."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from edgekit.compress.encoded import Encoded
from edgekit.compress.pruning import budget, groups, importance, sensitivity
from edgekit.compress.pruning.gates import Gate, gated
from edgekit.compress.pruning.groups import Group
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.progress import Report
from edgekit.spec.prune import STEP, Prune

KINDS = ("heads", "ffn", "hidden")


@dataclass
class Widths:
    """The groups of one kind. ``removed`` says how many units go from each in the end; ``None`` where that follows from
    the scores at the time (``scope: global``)."""

    kind: str
    groups: list[Group]
    kept: int
    removed: list[int] | None = None
    gates: list[Gate] = field(default_factory=list)

    @property
    def units(self) -> list[int]:
        return [one.units for one in self.groups]

    @property
    def step(self) -> int:
        """Counts of units are multiples of this."""
        return 1 if self.kind == "heads" else STEP

    @property
    def total(self) -> int:
        """How many units go from all groups together."""
        return sum(self.units) - self.kept * len(self.groups)

    def close(self, scores: Sequence[torch.Tensor], share: float = 1.0) -> None:
        """Close the gates of ``share`` of what goes in the end, the lowest scores first."""
        if self.removed is None:
            counts = budget.by_scores(scores, self.step, round(self.total * share))
        else:
            counts = [round(one * share) for one in self.removed]
        for gate, one, count in zip(self.gates, scores, counts, strict=True):
            gate.close(lowest(one, count))


@dataclass
class Cut:
    """What is about to be cut from a model: its widths, and how to score their units."""

    widths: list[Widths]
    score: Callable[[], list[list[torch.Tensor]]]

    def close(self, share: float) -> None:
        """Silence ``share`` of what goes in the end, by the scores as they are now."""
        for one, scores in zip(self.widths, self.score(), strict=True):
            one.close(scores, share)

    @property
    def gates(self) -> list[Gate]:
        return [gate for one in self.widths for gate in one.gates]


def lowest(scores: torch.Tensor, count: int) -> list[int]:
    """Indices of the ``count`` lowest scores, rising; the last among equals."""
    order = sorted(range(len(scores)), key=lambda one: (scores[one].item(), -one))
    return sorted(order[:count])


@contextlib.contextmanager
def prepared(checkpoint: Checkpoint, options: Prune, data: Encoded, seed: int, report: Report) -> Iterator[Cut]:
    """The model with a gate on every unit that could go, and how many go from where."""
    learned = options.criterion == "movement"
    widths = [
        Widths(kind, groups.of(checkpoint, kind), getattr(options, kind)) for kind in KINDS if kind in options.cuts
    ]
    with gated(checkpoint, [group for one in widths for group in one.groups], learned) as gates:
        left = iter(gates)
        for one in widths:
            one.gates = [next(left) for _ in one.groups]

        def score() -> list[list[torch.Tensor]]:
            if learned:
                return [[gate.scores.detach() for gate in one.gates if gate.scores is not None] for one in widths]
            every = [group for one in widths for group in one.groups]
            found = iter(importance.scores(options.criterion, checkpoint, every, data, seed))
            return [[next(found) for _ in one.groups] for one in widths]

        if options.scope == "sensitivity":
            for one, scores in zip(widths, score(), strict=True):
                if one.kind != "hidden":
                    one.removed = _by_sensitivity(checkpoint, one, scores, data, report)
        for one in widths:
            if options.scope == "layer" or one.kind == "hidden":
                one.removed = [units - one.kept for units in one.units]
        yield Cut(widths, score)


def shrink(checkpoint: Checkpoint, cut: Sequence[tuple[Group, Sequence[int]]]) -> None:
    """Cut what the gates had closed, in place: the units kept are given for each group."""
    for group, kept in cut:
        if len(kept) < group.units:
            groups.cut(checkpoint, group, kept)


def random_spread(one: Widths, draw: random.Random) -> list[int]:
    """How many units go from each group, at random but the same in total."""
    return budget.drawn(one.units, one.step, one.total, draw)


def _by_sensitivity(
    checkpoint: Checkpoint, one: Widths, scores: Sequence[torch.Tensor], data: Encoded, report: Report
) -> list[int]:
    def closing(gate: Gate, score: torch.Tensor) -> Callable[[float], None]:
        most = sum(budget.chunks(gate.group.units, one.step))
        return lambda share: gate.close(lowest(score, round(most * share)))

    close = [closing(gate, score) for gate, score in zip(one.gates, scores, strict=True)]
    curves = sensitivity.curves(checkpoint, data, close, report)
    return budget.by_losses(curves, one.units, one.step, one.total)
