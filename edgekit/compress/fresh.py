"""A student with layers of its own, of any number and widths, and its teacher's embeddings.

What a small model lacks most is what words mean: the tables are the teacher's, turned to their strongest directions
(PCA of the centred word embeddings, as in Raunak 2019). The layers are drawn as the family draws its own.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from edgekit.compress.basis import basis
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint
from edgekit.models.families import Embeddings
from edgekit.models.structure import Structure
from edgekit.spec.distill import Student


def start(checkpoint: Checkpoint, wanted: Student) -> None:
    """Replace the module in place; new weights come from the global random state.

    Each new layer stands in for an even share of the teacher's, for the losses that compare their insides. Raises
    BuildError where the heads do not share the width evenly.
    """
    family, before, old = checkpoint.family, checkpoint.structure, checkpoint.module
    count = wanted.layers or len(before.layers)
    module = checkpoints.MODELS[checkpoint.task].from_config(
        _config(old.config, family.feed_forward_width, before, wanted, count), dtype=torch.float32
    )
    family.prepare(module)
    with torch.no_grad():
        _take(family.embeddings(module), family.embeddings(old))
        ours, theirs = (getattr(family.head(one).classifier, "bias", None) for one in (module, old))
        if ours is not None and theirs is not None:
            ours.copy_(theirs)
    checkpoint.module, checkpoint.grid = module.eval(), None
    checkpoint.teacher_layers = tuple(
        checkpoint.teacher_layers[number * len(before.layers) // count] for number in range(count)
    )


def _config(old: Any, width: str, before: Structure, wanted: Student, count: int) -> Any:
    """The family's config with the sizes that are ``wanted``; ``width`` is its name of the feed-forward width."""
    config = copy.deepcopy(old)
    hidden = wanted.hidden or before.hidden
    heads = wanted.heads or max(1, hidden // before.head_size)
    if hidden % heads:
        raise BuildError(
            "the heads of a fresh student share its hidden width evenly",
            where="$.compress distill.student.heads",
            given=f"{heads} heads, hidden {hidden}",
        )
    # the same names in every family: where its own differ, its config maps them
    config.hidden_size, config.num_attention_heads, config.num_hidden_layers = hidden, heads, count
    setattr(config, width, wanted.ffn or before.layers[0].ffn)
    return config


def _take(ours: Embeddings, theirs: Embeddings) -> None:
    """The teacher's tables, turned where ours are narrower."""
    words, width = theirs.word.weight, ours.word.embedding_dim
    turn = None
    if width != words.shape[1]:
        words = words - words.mean(0)
        turn = basis([words], width)
    tables = ((ours.position, theirs.position), (ours.token_type, theirs.token_type))
    pairs = [(mine, table.weight) for mine, table in tables if mine is not None and table is not None]
    for mine, rows in [(ours.word, words), *pairs]:
        mine.weight.copy_(rows if turn is None else rows @ turn)
