"""Layers share their weights (ALBERT, Lan et al. 2020), in the orders of Takase & Kiyono 2021, and recover."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from edgekit.compress.recovery import recover
from edgekit.compress.task import Task
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models import parts
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.shape import Share
from edgekit.spec.step import StepReport


def run(options: Share, task: Task) -> StepReport:
    """Share, recover for ``options.epochs``, save."""
    started = time.monotonic()
    loaded = checkpoints.load(task.checkpoint)
    tie(loaded, options)
    return recover(loaded, options, task, "share", started)


def tie(checkpoint: Checkpoint, options: Share) -> None:
    """Leave ``options.groups`` layers' weights, in place; each group keeps the place of its first layer.

    Raises BuildError where there are more groups than layers (or than weights that layers do not share yet), or the
    layers of a group are not of one shape.
    """
    layers = list(checkpoint.family.layers(checkpoint.module))
    if options.groups >= len(layers):
        raise BuildError(
            "there must be fewer groups than layers, or none shares anything",
            where="$.compress share.groups",
            given=options.groups,
            allowed=f"1 to {len(layers) - 1}" if len(layers) > 1 else "the model has one layer",
        )
    first = leaders(len(layers), options.groups, options.order)
    left = len({id(layers[one]) for one in first})
    if left < options.groups:
        raise BuildError(
            "the layers share their weights already, and fewer would be left than asked for",
            where="$.compress share.groups",
            given=options.groups,
            allowed=left,
        )
    for leader in sorted(set(first)):
        group = [layers[place] for place, one in enumerate(first) if one == leader]
        _check_shapes(group)
        if options.start == "mean":
            parts.check_whole(group, "$.compress share.start", "mean", "first")
            average(group)
    parts.share(checkpoint.module, checkpoint.family, first)


def leaders(layers: int, groups: int, order: str) -> list[int]:
    """For each layer the first one of its group: of 5 in 2 groups ``sequence`` 0 0 0 3 3, ``cycle`` 0 1 0 1 0."""
    if order == "cycle":
        return [place % groups for place in range(layers)]
    group = [place * groups // layers for place in range(layers)]
    return [group.index(one) for one in group]


def average(layers: Sequence[Any]) -> None:
    """The first layer's weights become the mean of all, in place."""
    states = [dict(one.named_parameters()) for one in layers]
    with torch.no_grad():
        for name, weight in states[0].items():
            weight.copy_(torch.stack([one[name] for one in states]).mean(0))


def _check_shapes(group: Sequence[Any]) -> None:
    shapes = [{name: tuple(one.shape) for name, one in layer.named_parameters()} for layer in group]
    if any(one != shapes[0] for one in shapes):
        raise BuildError(
            "layers of other heads, widths or ranks cannot share their weights",
            where="$.compress share",
            remedy="prune with scope: layer, which keeps them alike, or write the step share before the others",
        )
