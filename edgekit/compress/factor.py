"""Low-rank factoring by SVD: a matrix becomes a product of two narrow ones, then the model recovers.

By ``outputs``, what is kept is what the matrix answers, not what it is: with the second moments of its inputs C = SSᵀ
(around their mean, where a bias can take the mean's share), the best W′ of rank r for E‖(W - W′)x‖² is the truncated
SVD of W·S, times S⁻¹ (DRONE, Chen et al. 2021; SVD-LLM, Wang et al. 2024). For an embedding, x is one of the tokens:
rows weigh as often as their token comes.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgekit.compress.encoded import Batch, encode, in_order
from edgekit.compress.hashing import token_counts
from edgekit.compress.recovery import recover
from edgekit.compress.task import Task
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models import parts
from edgekit.models.checkpoint import Checkpoint
from edgekit.models.parts import FactoredEmbedding, FactoredLinear
from edgekit.spec.shape import STEP, Factor
from edgekit.spec.step import StepReport

SIZE = 32
#: Directions in which inputs hardly vary, against the most they do: their whitening would be all noise.
FLAT = 1e-10


@dataclass
class Moments:
    """Sums over the tokens a projection was given: how many, of the inputs [in], of their products [in, in]."""

    count: int
    total: torch.Tensor
    products: torch.Tensor

    @staticmethod
    def none(width: int) -> Moments:
        return Moments(0, torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64))

    @property
    def mean(self) -> torch.Tensor:
        return self.total / self.count

    def spread(self, centred: bool) -> torch.Tensor:
        """The inputs' second moments, [in, in]; ``centred`` around their mean."""
        moments = self.products / self.count
        return moments - torch.outer(self.mean, self.mean) if centred else moments


def run(options: Factor, task: Task) -> StepReport:
    """Factor, recover for ``options.epochs``, save."""
    started = time.monotonic()
    loaded = checkpoints.load(task.checkpoint)
    factor(loaded, options, task)
    return recover(loaded, options, task, "factor", started)


def factor(checkpoint: Checkpoint, options: Factor, task: Task) -> None:
    """Replace the chosen matrices by products, in place. Raises BuildError for a rank that makes one no smaller."""
    chosen = _chosen(checkpoint, options)
    for name, one, rank in chosen:
        _check(name, one, rank)
    moments: dict[str, Moments] = {}
    if options.by == "outputs":
        drawn = random.Random(task.seed).sample(task.samples.train, min(options.samples, len(task.samples.train)))
        asked = {name: one for name, one, _ in chosen if isinstance(one, nn.Linear)}
        moments = measured(checkpoint.module, asked, in_order(encode(drawn, checkpoint, task.lengths[-1]), SIZE))
    for name, one, rank in chosen:
        if isinstance(one, nn.Linear):
            parts.put(checkpoint.module, name, linear(one, rank, moments.get(name)))
        else:
            counts = token_counts(checkpoint, task) if options.by == "outputs" else None
            parts.put(checkpoint.module, name, table(one, rank, counts))


def linear(plain: nn.Linear, rank: int, moments: Moments | None = None) -> FactoredLinear:
    """The product of ``rank`` nearest to ``plain``: to its matrix, or to what it answers to inputs of ``moments``."""
    matrix, bias = plain.weight.detach().double(), plain.bias
    made = FactoredLinear(plain.in_features, plain.out_features, rank, bias is not None)
    if moments is None:
        wide, values, narrow = torch.linalg.svd(matrix, full_matrices=False)
        narrow = narrow[:rank] * values[:rank].sqrt().unsqueeze(1)
        wide = wide[:, :rank] * values[:rank].sqrt()
    else:
        # along the inputs' principal directions: S = V·√Λ, S⁻¹ = √Λ⁻¹·Vᵀ
        lengths, directions = torch.linalg.eigh(moments.spread(centred=bias is not None))
        lengths = lengths.clamp(min=float(lengths[-1]) * FLAT).sqrt()
        wide, values, narrow = torch.linalg.svd(matrix @ directions * lengths, full_matrices=False)
        narrow = (narrow[:rank] * values[:rank].sqrt().unsqueeze(1) / lengths) @ directions.T
        wide = wide[:, :rank] * values[:rank].sqrt()
    with torch.no_grad():
        made.narrow.weight.copy_(narrow)
        made.wide.weight.copy_(wide)
        if bias is not None:
            made.wide.bias.copy_(bias)
            if moments is not None:
                made.wide.bias += ((matrix - wide @ narrow) @ moments.mean).float()
    return made


def table(plain: nn.Embedding, rank: int, counts: torch.Tensor | None = None) -> FactoredEmbedding:
    """The narrow table and projection nearest to ``plain``, whose rows weigh one more than ``counts`` [tokens]."""
    matrix = plain.weight.detach().double()
    weights = torch.ones(len(matrix), 1) if counts is None else (counts + 1).unsqueeze(1)
    # the best rows of rank r lie in the space of the first r right singular vectors
    _, directions = torch.linalg.eigh(matrix.T @ (weights.double() * matrix))
    axes = directions.flip(1)[:, :rank]
    made = FactoredEmbedding(plain.num_embeddings, plain.embedding_dim, rank, plain.padding_idx)
    with torch.no_grad():
        made.table.weight.copy_(matrix @ axes)
        made.projection.weight.copy_(axes)
    return made


def measured(module: Any, projections: dict[str, nn.Linear], batches: Iterator[Batch]) -> dict[str, Moments]:
    """The moments of what each projection is given, over all real tokens of ``batches``."""
    found = {name: Moments.none(one.in_features) for name, one in projections.items()}
    with torch.inference_mode():
        for batch in batches:
            with _watched(found, projections, batch):
                module(batch.input_ids, batch.attention_mask)
    return found


@contextlib.contextmanager
def _watched(found: dict[str, Moments], projections: dict[str, nn.Linear], batch: Batch) -> Iterator[None]:
    there = batch.attention_mask.bool()

    def hook(moments: Moments) -> Any:
        def add(_: Any, inputs: Sequence[torch.Tensor]) -> None:
            tokens = inputs[0].reshape(*there.shape, -1)[there].double()
            moments.count += len(tokens)
            moments.total += tokens.sum(0)
            moments.products += tokens.T @ tokens

        return add

    hooks = [one.register_forward_pre_hook(hook(found[name])) for name, one in projections.items()]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def _chosen(checkpoint: Checkpoint, options: Factor) -> list[tuple[str, Any, int]]:
    """Name, part and rank of each matrix to factor; a layer that stands at several places comes once."""
    family, module = checkpoint.family, checkpoint.module
    wanted: list[tuple[Any, int]] = []
    if options.embedding is not None:
        wanted.append((family.word_embedding(module), options.embedding))
    for layer in {id(one): one for one in family.layers(module)}.values():
        if options.attention is not None:
            one = family.attention(layer)
            wanted += [(part, options.attention) for part in (one.query, one.key, one.value, one.output)]
        if options.ffn is not None:
            both = family.feed_forward(layer)
            wanted += [(part, options.ffn) for part in (both.up, both.down)]
    names = {id(part): name for name, part in module.named_modules()}
    return [(names[id(part)], part, rank) for part, rank in wanted]


def _check(name: str, one: Any, rank: int) -> None:
    if not isinstance(one, nn.Linear | nn.Embedding):
        raise BuildError(
            "this matrix is factored or hashed already",
            given=name,
            where="$.compress factor",
            remedy="leave it out of one of the two steps",
        )
    rows, columns = one.weight.shape
    most = (rows * columns - 1) // (rows + columns)
    if rank > most:
        raise BuildError(
            "at this rank the two factors hold no fewer weights than the matrix",
            where=f"$.compress factor ({name}, {rows} × {columns})",
            given=rank,
            allowed=f"8 to {most // STEP * STEP}" if most >= STEP else "none: it is too small",
            remedy="lower the rank, or leave this part whole",
        )
