"""Single weights, and blocks of them, that are zero: which, and how they stay so while the model trains.

Only the projections of the layers take part: embeddings, norms, biases and the classifier stay whole, as in the papers.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import parametrize

from edgekit.compress.encoded import Encoded, in_order
from edgekit.compress.evaluate import nll
from edgekit.compress.pruning.groups import projections
from edgekit.compress.pruning.importance import SIZE
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models import parts
from edgekit.models.checkpoint import Checkpoint


class Mask(nn.Module):  # type: ignore[misc]
    """Which blocks of a matrix [rows, columns] are open: ``open`` [rows / block rows, columns / block columns].

    With ``learned``, ``scores`` of the same shape take the gradient that the mask gets, the closed blocks too: movement
    pruning (Sanh, Wolf & Rush 2020), in blocks (Lagunas et al. 2021).
    """

    open: torch.Tensor
    scores: nn.Parameter | None

    def __init__(self, rows: int, columns: int, block: tuple[int, int], learned: bool) -> None:
        super().__init__()
        self.block = block
        self.register_buffer("open", torch.ones(rows // block[0], columns // block[1]))
        self.scores = nn.Parameter(torch.zeros_like(self.open)) if learned else None

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        mask = self.open if self.scores is None else self.open + (self.scores - self.scores.detach())
        return (blocks(weight, self.block) * mask[:, None, :, None]).reshape(weight.shape)


def blocks(weight: torch.Tensor, block: tuple[int, int]) -> torch.Tensor:
    """[rows, columns] as [rows / block rows, block rows, columns / block columns, block columns]."""
    rows, columns = weight.shape
    return weight.reshape(rows // block[0], block[0], columns // block[1], block[1])


@contextlib.contextmanager
def masked(matrices: Sequence[nn.Linear], block: tuple[int, int], learned: bool = False) -> Iterator[list[Mask]]:
    """Inside the block the matrices compute through masks, all open at first; after it they hold what was masked."""
    masks = [Mask(one.out_features, one.in_features, block, learned) for one in matrices]
    for one, mask in zip(matrices, masks, strict=True):
        parametrize.register_parametrization(one, "weight", mask)
    try:
        yield masks
    finally:
        for one in matrices:
            parametrize.remove_parametrizations(one, "weight", leave_parametrized=True)


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Save a model that computes through masks as it is, zeros in place."""
    module = copy.deepcopy(checkpoint.module)
    for name, one in list(module.named_modules()):
        if parametrize.is_parametrized(one, "weight"):
            # a copy has its original's class, from which the masks cannot be taken for one of the two
            plain = nn.Linear(one.in_features, one.out_features, device="meta")
            plain.weight, plain.bias = nn.Parameter(one.weight.detach()), one.bias
            parts.put(module, name, plain)
    checkpoints.save(replace(checkpoint, module=module), folder)


def matrices(checkpoint: Checkpoint, block: tuple[int, int]) -> list[list[nn.Linear]]:
    """The matrices of each layer. Raises BuildError where ``block`` does not divide one, or one is factored."""
    found = projections(checkpoint)
    for one in (one for layer in found for one in layer):
        parts.check_plain(one)
        if one.out_features % block[0] or one.in_features % block[1]:
            raise BuildError(
                "the block does not divide a matrix",
                where="$.compress prune.block",
                given=list(block),
                allowed=f"divisors of {one.out_features} rows and {one.in_features} columns",
            )
    return found


def scores(
    criterion: str,
    checkpoint: Checkpoint,
    matrices: Sequence[nn.Linear],
    masks: Sequence[Mask],
    data: Encoded,
    seed: int,
) -> list[torch.Tensor]:
    """The score of each block, in the shape of its mask.

    ``magnitude`` is the L2 norm of its weights (Han et al. 2015), ``taylor`` the mean over batches of |Σ weight·∂loss/
    ∂weight| (Molchanov et al. 2017), ``movement`` what training has learned so far.
    """
    if criterion == "movement":
        return [one.scores.detach() for one in masks if one.scores is not None]
    if criterion == "random":
        draw = torch.Generator().manual_seed(seed)
        return [torch.rand(one.open.shape, generator=draw) for one in masks]
    whole = [_whole(one) for one in matrices]
    if criterion == "magnitude":
        return [
            blocks(one.detach(), mask.block).square().sum((1, 3)).sqrt() for one, mask in zip(whole, masks, strict=True)
        ]
    sums = [torch.zeros_like(one.open) for one in masks]
    module, training = checkpoint.module, checkpoint.module.training
    module.eval()
    for one in in_order(data, SIZE):
        batch = one.to(whole[0].device)
        loss = nll(module(batch.input_ids, batch.attention_mask).logits, batch.labels).sum()
        for total, weight, slope, mask in zip(sums, whole, torch.autograd.grad(loss, whole), masks, strict=True):
            total += blocks(weight.detach() * slope, mask.block).sum((1, 3)).abs()
    module.train(training)
    return sums


def keep_highest(scores: Sequence[torch.Tensor], masks: Sequence[Mask], removed: int) -> None:
    """Close the ``removed`` blocks of the lowest scores among all of ``masks``, the first among equals; open the
    others."""
    flat = torch.cat([one.flatten() for one in scores])
    open_ = torch.ones_like(flat)
    if removed:
        bound = torch.kthvalue(flat, removed).values
        open_[flat < bound] = 0.0
        equal = (flat == bound).nonzero().flatten()
        open_[equal[: removed - int((flat < bound).sum())]] = 0.0
    for mask, part in zip(masks, open_.split([one.open.numel() for one in masks]), strict=True):
        mask.open.copy_(part.view_as(mask.open))


def _whole(matrix: nn.Linear) -> torch.Tensor:
    """The weights behind the mask."""
    parameter: torch.Tensor = matrix.parametrizations.weight.original
    return parameter
