"""A student with layers of its own, of any number and widths, and its teacher's embeddings.

What a small model lacks most is what words mean: the tables are the teacher's, turned to their strongest directions
(PCA of the centred word embeddings, as in Raunak 2019). The layers are drawn as the family draws its own.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from edgekit.compress import student
from edgekit.errors import BuildError
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.distill import Student


def start(checkpoint: Checkpoint, wanted: Student) -> None:
    """Replace the module in place; new weights come from the global random state.

    Each new layer stands in for an even share of the teacher's, for the losses that compare their insides. Raises
    BuildError where the heads do not share the width evenly.
    """
    family, before, old = checkpoint.family, checkpoint.structure, checkpoint.module
    config = copy.deepcopy(old.config)
    hidden = wanted.hidden or before.hidden
    heads = wanted.heads or max(1, hidden // before.head_size)
    count = wanted.layers or len(before.layers)
    if hidden % heads:
        raise BuildError(
            "the heads of a fresh student share its hidden width evenly",
            where="$.compress distill.student.heads",
            given=f"{heads} heads, hidden {hidden}",
        )
    config.hidden_size, config.num_attention_heads, config.num_hidden_layers = hidden, heads, count
    setattr(config, family.feed_forward_width, wanted.ffn or before.layers[0].ffn)
    module = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    family.prepare(module)
    theirs, ours = family.embeddings(old), family.embeddings(module)
    with torch.no_grad():
        words = theirs.word.weight.detach()
        turn = _turn(words, ours.word.embedding_dim)
        ours.word.weight.copy_(words @ turn if turn is None else (words - words.mean(0)) @ turn)
        for mine, table in ((ours.position, theirs.position), (ours.token_type, theirs.token_type)):
            if mine is not None and table is not None:
                mine.weight.copy_(table.weight @ turn)
        _copy_bias(family.head(module).classifier, family.head(old).classifier)
    checkpoint.module, checkpoint.grid = module.eval(), None
    checkpoint.teacher_layers = tuple(
        before_layer for before_layer in (checkpoint.teacher_layers[n * len(before.layers) // count] for n in range(count))
    )
