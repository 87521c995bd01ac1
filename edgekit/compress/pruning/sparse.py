"""A share of the layers' single weights, or of blocks of them, becomes zero, now or gradually."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from edgekit.compress.encoded import Encoded
from edgekit.compress.pruning import budget, sensitivity, weights
from edgekit.compress.pruning.weights import Mask
from edgekit.models.checkpoint import WEIGHTS, Checkpoint
from edgekit.spec.progress import Report
from edgekit.spec.prune import Prune

#: In how many chunks a layer's weights go where each layer has a share of its own.
CHUNKS = 32


@dataclass
class Pool:
    """Masks whose blocks compete with each other, and how many of them go in the end."""

    masks: list[Mask]
    removed: int

    @property
    def blocks(self) -> int:
        return sum(one.open.numel() for one in self.masks)


@dataclass
class Zeros:
    """What is about to become zero: a share of each pool, by the scores of its masks as they are when asked."""

    pools: list[Pool]
    score: Callable[[], list[list[torch.Tensor]]]

    def close(self, share: float) -> None:
        """Mask ``share`` of what goes in the end."""
        for pool, scores in zip(self.pools, self.score(), strict=True):
            weights.keep_highest(scores, pool.masks, round(pool.removed * share))

    @property
    def share(self) -> float:
        """What share of the weights is masked now."""
        closed = sum(float((1 - mask.open).sum()) for pool in self.pools for mask in pool.masks)
        return closed / sum(pool.blocks for pool in self.pools)


@contextlib.contextmanager
def prepared(checkpoint: Checkpoint, options: Prune, data: Encoded, seed: int, report: Report) -> Iterator[Zeros]:
    """Inside, the layers' matrices compute through masks, all open at first; afterwards what was masked is zero.

    ``scope`` says who competes: the weights of one matrix (``layer``: each matrix has the same share), of all matrices
    (``global``), or of one layer, whose share follows from the loss it costs (``sensitivity``).
    """
    assert options.sparsity is not None
    block = (options.block[0], options.block[1]) if options.block else (1, 1)
    layers = weights.matrices(checkpoint, block)
    together = {
        "layer": [[one] for layer in layers for one in layer],
        "sensitivity": layers,
        "global": [[one for layer in layers for one in layer]],
    }[options.scope]

    matrices = [one for pool in together for one in pool]
    with weights.masked(matrices, block, options.criterion == "movement") as masks:

        def score() -> list[list[torch.Tensor]]:
            left = iter(weights.scores(options.criterion, checkpoint, matrices, masks, data, seed))
            return [[next(left) for _ in pool] for pool in together]

        of_pool = iter(masks)
        zeros = Zeros([Pool([next(of_pool) for _ in pool], 0) for pool in together], score)
        for pool, removed in zip(zeros.pools, _removed(checkpoint, options, zeros, data, report), strict=True):
            pool.removed = removed
        yield zeros


def deflated(folder: Path) -> tuple[int, int]:
    """Bytes of a checkpoint's weights as they are, and after deflate (RFC 1951, level 6)."""
    packer, packed, size = zlib.compressobj(6), 0, 0
    with (folder / WEIGHTS).open("rb") as stream:
        while part := stream.read(1 << 20):
            size += len(part)
            packed += len(packer.compress(part))
    return size, packed + len(packer.flush())


def _removed(checkpoint: Checkpoint, options: Prune, zeros: Zeros, data: Encoded, report: Report) -> Sequence[int]:
    """How many blocks go from each pool; together the share asked for, to the block."""
    assert options.sparsity is not None
    counts = [pool.blocks for pool in zeros.pools]
    if options.scope != "sensitivity":
        return [round(options.sparsity * one) for one in counts]

    step = max(1, min(counts) // CHUNKS)

    def closing(pool: Pool, scores: list[torch.Tensor]) -> Callable[[float], None]:
        most = sum(budget.chunks(pool.blocks, step))
        return lambda share: weights.keep_highest(scores, pool.masks, round(most * share))

    close = [closing(*pair) for pair in zip(zeros.pools, zeros.score(), strict=True)]
    curves = sensitivity.curves(checkpoint, data, close, report)
    return budget.by_losses(curves, counts, step, round(options.sparsity * sum(counts)))
