"""How a total is spread over the layers: what is removed where, by what its removal costs."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence

import torch


def spread(costs: Sequence[Sequence[float]], sizes: Sequence[Sequence[int]], total: int) -> list[int]:
    """Remove ``total`` units, always the chunk that costs least among the next ones of all layers; among equals, from
    the layer that has lost the smallest share.

    Args:
        costs: for each layer, what each of its chunks costs, in the order in which they would go.
        sizes: how many units each of those chunks is.

    Returns how many units go from each layer; the last chunk may go in part.
    """
    removed = [0] * len(costs)
    queue = [(layer[0], 0.0, number, 0) for number, layer in enumerate(costs) if layer]
    heapq.heapify(queue)
    while total > 0 and queue:
        _, _, number, place = heapq.heappop(queue)
        taken = min(sizes[number][place], total)
        removed[number] += taken
        total -= taken
        if place + 1 < len(costs[number]):
            gone = (place + 1) / len(costs[number])
            heapq.heappush(queue, (costs[number][place + 1], gone, number, place + 1))
    return removed


def chunks(units: int, step: int) -> list[int]:
    """The sizes in which ``units`` go, so that a multiple of ``step`` stays each time and one step at least."""
    rest = units % step
    return [rest] * (rest > 0) + [step] * (units // step - 1)


def by_scores(scores: Sequence[torch.Tensor], step: int, total: int) -> list[int]:
    """:func:`spread` where a chunk costs the sum of its units' scores, the lowest first."""
    costs, sizes = [], [chunks(len(one), step) for one in scores]
    for one, layer in zip(scores, sizes, strict=True):
        rising = iter(sorted(one.tolist()))
        costs.append(_rest_first([sum(next(rising) for _ in range(size)) for size in layer], layer, step))
    return spread(costs, sizes, total)


def by_losses(losses: Sequence[Sequence[float]], units: Sequence[int], step: int, total: int) -> list[int]:
    """:func:`spread` where a chunk costs what the loss rises by.

    Args:
        losses: for each layer, the loss with 0, 1/n, … all of what can go of it gone, all other layers whole.
    """
    costs, sizes = [], [chunks(one, step) for one in units]
    for curve, layer in zip(losses, sizes, strict=True):
        gone, reached, rises = 0, 0.0, []
        for size in layer:
            gone += size
            now = _between(curve, gone / sum(layer))
            rises.append(now - reached)
            reached = now
        costs.append(_rest_first(rises, layer, step))
    return spread(costs, sizes, total)


def drawn(units: Sequence[int], step: int, total: int, draw: random.Random) -> list[int]:
    """A random spread: each layer's share of what goes is about proportional to a number drawn for it."""
    sizes = [chunks(one, step) for one in units]
    costs = []
    for layer in sizes:
        weight = draw.uniform(0.1, 1.0)
        costs.append(_rest_first([(place + 1) / len(layer) / weight for place in range(len(layer))], layer, step))
    return spread(costs, sizes, total)


def _rest_first(costs: list[float], sizes: list[int], step: int) -> list[float]:
    """What does not fill a step goes whatever it costs: no layer can keep it."""
    return [-math.inf if size < step else cost for cost, size in zip(costs, sizes, strict=True)]


def _between(curve: Sequence[float], share: float) -> float:
    """How far the loss has risen at ``share``; it never counts as falling, and between two points it is a line."""
    highest = [max(0.0, *(one - curve[0] for one in curve[: place + 1])) for place in range(len(curve))]
    place = share * (len(curve) - 1)
    low = min(int(place), len(curve) - 2)
    return highest[low] + (place - low) * (highest[low + 1] - highest[low])
