"""While it trains, a model's last layer computes only the token that its classifier reads.

No other token of that layer reaches the logits, so neither they nor any gradient change but by rounding; a student of
two layers trains a third faster. It is what is exported, too (:mod:`edgekit.convert.module`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from edgekit.models.checkpoint import Checkpoint
from edgekit.models.families import Family
from edgekit.spec.task import CLASSIFY


@contextlib.contextmanager
def first_token_only(checkpoint: Checkpoint) -> Iterator[bool]:
    """Within, the module computes so; gives whether it does.

    It does not where the classifier reads another token, or all, the last layer stands in the stack again, anything
    drops out (which tokens are left out would change what is drawn), or a projection was replaced by what may look at
    all tokens.
    """
    able = _able(checkpoint)
    if able:
        last = checkpoint.family.layers(checkpoint.module)[-1]
        last.forward = _First(last, checkpoint.family, checkpoint.family.head_size(checkpoint.module))
    try:
        yield able
    finally:
        if able:
            # the class's own again
            del last.forward


class _First:
    """A layer's forward pass for the first token: hidden states [batch, length, hidden] → [batch, 1, hidden]."""

    def __init__(self, layer: Any, family: Family, head_size: int) -> None:
        self.layer, self.family, self.head_size = layer, family, head_size

    def __call__(self, hidden: torch.Tensor, mask: torch.Tensor | None = None, *_: Any, **__: Any) -> torch.Tensor:
        attention, both = self.family.attention(self.layer), self.family.feed_forward(self.layer)
        norms, token = self.family.norms(self.layer), hidden[:, :1]
        query, key, value = (
            one(given).unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for one, given in ((attention.query, token), (attention.key, hidden), (attention.value, hidden))
        )
        # a mask has one row for all tokens, or one for each
        row = None if mask is None else mask[:, :, :1]
        found = scaled_dot_product_attention(query, key, value, attn_mask=row, scale=attention.scaling)
        token = norms.attention(attention.output(found.transpose(1, 2).flatten(2)) + token)
        output: torch.Tensor = norms.feed_forward(both.down(both.activation(both.up(token))) + token)
        return output


def _able(checkpoint: Checkpoint) -> bool:
    family, module = checkpoint.family, checkpoint.module
    layers = list(family.layers(module))
    if checkpoint.task != CLASSIFY or family.reads != "first" or family.pre_norm:
        return False
    if sum(one is layers[-1] for one in layers) > 1:
        return False
    attention, both = family.attention(layers[-1]), family.feed_forward(layers[-1])
    projections = (attention.query, attention.key, attention.value, attention.output, both.up, both.down)
    return (
        all(type(one) is nn.Linear for one in projections)
        and attention.position is None
        and not any(one.p for one in layers[-1].modules() if isinstance(one, nn.Dropout))
    )
