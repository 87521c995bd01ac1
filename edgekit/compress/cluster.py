"""Weight clustering (deep compression, Han, Mao & Dally 2016): each matrix holds a few numbers, found by k-means.

In training, all weights of a cluster move by the mean of their gradients, so that they stay one number. No runtime here
computes from codebooks: what is gained is the size of the file when it is compressed for transfer, which is measured.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from edgekit.compress.pruning.sparse import deflated
from edgekit.compress.recovery import recover
from edgekit.compress.task import Task
from edgekit.models import checkpoint as checkpoints
from edgekit.models import parts
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.shape import Cluster
from edgekit.spec.step import StepReport

#: Lloyd's iterations end here at the latest; on one line they settle long before.
ITERATIONS = 300


@dataclass(frozen=True)
class Clustered:
    """A weight whose elements move together: ``places`` int64, in the shape of the weight, say the cluster of each."""

    weight: torch.nn.Parameter
    places: torch.Tensor
    counts: torch.Tensor

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """``values`` (of the weight's shape), each replaced by the mean of its cluster."""
        sums = torch.bincount(self.places.flatten(), values.flatten().double(), len(self.counts))
        return (sums / self.counts).to(values.dtype)[self.places]


def run(options: Cluster, task: Task) -> StepReport:
    """Cluster, train the clusters for ``options.epochs``, save."""
    started = time.monotonic()
    loaded = checkpoints.load(task.checkpoint)
    clustered = cluster(loaded, options, task.seed)

    def together(step: int, steps: int) -> None:
        for one in clustered:
            if one.weight.grad is not None:
                # zeros stay: what was pruned is no number to learn
                one.weight.grad.copy_(one.mean(one.weight.grad).masked_fill_(one.weight == 0, 0.0))

    def settle(step: int, steps: int) -> None:
        # the optimizer computes in vectors and their rests, whose last bits may differ
        with torch.no_grad():
            for one in clustered:
                one.weight.copy_(one.mean(one.weight))

    done = recover(loaded, options, task, "cluster", started, before_step=together, after_step=settle)
    (_, before), (_, after) = deflated(task.checkpoint), deflated(task.out)
    remark = (
        f"deflated weights: {after / 1e6:.2f} MB, before {before / 1e6:.2f}; no runtime here computes faster from it"
    )
    return replace(done, remarks=(remark,))


def cluster(checkpoint: Checkpoint, options: Cluster, seed: int) -> list[Clustered]:
    """Give each projection of the layers (and the word embedding, where it is asked for) its codebook, in place."""
    projections = [
        one
        for layer in {id(one): one for one in checkpoint.family.layers(checkpoint.module)}.values()
        for one in layer.modules()
        if isinstance(one, torch.nn.Linear)
    ]
    chosen = [(one, options.values) for one in projections]
    if options.embedding is not None:
        word: Any = checkpoint.family.word_embedding(checkpoint.module)
        chosen += [(word if isinstance(word, torch.nn.Embedding) else word.table, options.embedding)]
    found = []
    for part, values in chosen:
        codebook, places = codebook_of(part.weight.detach(), values, seed)
        with torch.no_grad():
            part.weight.copy_(codebook[places])
        parts.mark(part, values)
        found.append(Clustered(part.weight, places, torch.bincount(places.flatten(), minlength=len(codebook))))
    return found


def codebook_of(weight: torch.Tensor, values: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`kmeans`, but zeros stay: where there are any (a step pruned them), 0 is one of the ``values``, and the
    others are found for the rest, as in the paper."""
    zero = weight == 0
    if not zero.any():
        return kmeans(weight, values, seed)
    others, at = kmeans(weight[~zero], values - 1, seed)
    places = torch.zeros(weight.shape, dtype=torch.int64)
    places[~zero] = 1 + at
    return torch.cat([torch.zeros(1), others]), places


def kmeans(weight: torch.Tensor, values: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A codebook of ``values`` numbers (fewer, where the weight has no more), rising, and each element's place in it.

    Lloyd's algorithm from k-means++ (Arthur & Vassilvitskii 2007), seeded. Numbers lie on a line: clusters are
    stretches of the sorted weights, and their means come from cumulative sums.
    """
    line = weight.flatten().double().sort().values
    distinct = line.unique_consecutive()
    if len(distinct) <= values:
        codebook = distinct.to(weight.dtype)
        return codebook, torch.searchsorted(codebook, weight)
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), line.cumsum(0)])
    means = _spread(line, values, random.Random(seed))
    for _ in range(ITERATIONS):
        ends = torch.searchsorted(line, _borders(means))
        edges = torch.cat([torch.zeros(1, dtype=torch.int64), ends, torch.tensor([len(line)])])
        counts = edges.diff()
        moved = torch.where(counts > 0, sums[edges].diff() / counts.clamp(min=1), means)
        if torch.equal(moved, means):
            break
        means = moved
    codebook = means.to(weight.dtype)
    places = torch.searchsorted(_borders(means), weight.double())
    return codebook, places


def _borders(means: torch.Tensor) -> torch.Tensor:
    return (means[1:] + means[:-1]) / 2


def _spread(line: torch.Tensor, values: int, draw: random.Random) -> torch.Tensor:
    """k-means++: each next centre is drawn with odds of its squared distance to the nearest one so far."""
    chosen = [line[draw.randrange(len(line))]]
    distances = (line - chosen[0]).square()
    while len(chosen) < values:
        heights = distances.cumsum(0)
        place = int(torch.searchsorted(heights, draw.random() * float(heights[-1]), right=True))
        chosen.append(line[min(place, len(line) - 1)])
        distances = torch.minimum(distances, (line - chosen[-1]).square())
    return torch.stack(chosen).sort().values
