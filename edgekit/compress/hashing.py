"""The hashing trick for the word embedding (Weinberger et al. 2009; Svenstrup et al. 2017): tokens share rows.

The table starts as the least-squares fit of the trained one, each token weighed by how often the training texts use
it, and is found by conjugate gradients (Hestenes & Stiefel 1952) on the normal equations.
"""

from __future__ import annotations

import time
from collections import Counter

import torch

from edgekit.compress.encoded import encode
from edgekit.compress.recovery import recover
from edgekit.compress.task import Task
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models import parts
from edgekit.models.checkpoint import Checkpoint
from edgekit.models.parts import HashedEmbedding
from edgekit.spec.shape import Hash
from edgekit.spec.step import StepReport

#: Conjugate gradients end here at the latest, or when the residual is this share of the first.
STEPS, EXACT = 500, 1e-10


def run(options: Hash, task: Task) -> StepReport:
    """Hash, recover for ``options.epochs``, save. Raises BuildError where the table would not be smaller."""
    started = time.monotonic()
    loaded = checkpoints.load(task.checkpoint)
    counts = token_counts(loaded, task)
    lost = hash_words(loaded, options.buckets, options.hashes, counts)
    remarks = (f"the hashed table is {100 * lost:.1f} % off the trained one (squared, by how often tokens come)",)
    return recover(loaded, options, task, "hash", started, remarks=remarks)


def token_counts(checkpoint: Checkpoint, task: Task) -> torch.Tensor:
    """How often each token comes in the training texts, float32 [tokens]."""
    found = Counter(token for ids in encode(task.samples.train, checkpoint, task.lengths[-1]).ids for token in ids)
    counts = torch.zeros(checkpoint.family.word_embedding(checkpoint.module).num_embeddings)
    counts[list(found)] = torch.tensor(list(found.values()), dtype=torch.float32)
    return counts


def hash_words(checkpoint: Checkpoint, buckets: int, hashes: int, counts: torch.Tensor) -> float:
    """Put a fitted :class:`HashedEmbedding` into the model, in place; gives the share of the squares that it misses.

    Raises BuildError where it would not be smaller, or the table is none of plain rows.
    """
    table = checkpoint.family.word_embedding(checkpoint.module)
    if not isinstance(table, torch.nn.Embedding):
        raise BuildError(
            "only a plain word embedding can be hashed",
            given=type(table).__name__,
            where="$.compress hash",
            remedy="leave out the step hash, or the earlier one that factors or hashes the embedding",
        )
    if buckets >= table.num_embeddings:
        raise BuildError(
            "a table of as many rows as there are tokens saves nothing",
            where="$.compress hash.buckets",
            given=buckets,
            allowed=f"8 to {table.num_embeddings - 1}",
            remedy="take fewer buckets, or leave the step hash out",
        )
    fresh = HashedEmbedding(table.num_embeddings, table.embedding_dim, buckets, hashes, table.padding_idx)
    wanted = table.weight.detach()
    # one more than they come: a token that no text uses is fitted as well
    fit(fresh, wanted, counts + 1)
    name = next(name for name, one in checkpoint.module.named_modules() if one is table)
    parts.put(checkpoint.module, name, fresh)
    weights = (counts + 1).unsqueeze(1)
    with torch.no_grad():
        return float((weights * (fresh.weight - wanted).square()).sum() / (weights * wanted.square()).sum())


def fit(hashed: HashedEmbedding, wanted: torch.Tensor, weights: torch.Tensor) -> None:
    """Set the table to what minimizes ``Σ weights · ‖sum of a token's rows - wanted‖²``; ``wanted`` [tokens, hidden],
    ``weights`` [tokens]."""
    rows, width = hashed.rows.long(), hashed.embedding_dim
    scale = weights.double().unsqueeze(1)

    def gathered(table: torch.Tensor) -> torch.Tensor:
        return table[rows].sum(1)

    def scattered(vectors: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(hashed.buckets, width, dtype=torch.float64)
        for one in range(hashed.hashes):
            total.index_add_(0, rows[:, one], vectors)
        return total

    table = torch.zeros(hashed.buckets, width, dtype=torch.float64)
    residual = scattered(scale * wanted.double())
    direction = residual.clone()
    size = first = float(residual.square().sum())
    for _ in range(STEPS):
        if size <= EXACT * EXACT * first:
            break
        image = scattered(scale * gathered(direction))
        step = size / float((direction * image).sum())
        table += step * direction
        residual -= step * image
        size, before = float(residual.square().sum()), size
        direction = residual + size / before * direction
    with torch.no_grad():
        hashed.table.weight.copy_(table)
