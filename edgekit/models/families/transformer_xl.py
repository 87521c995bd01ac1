"""Transformer-XL, as :mod:`edgekit.models.transformer_xl` has it: scores know distances. The last token is classified,
or every token tells the next.

What is exported is one segment with nothing before it.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from edgekit.models.families.family import Attention, Embeddings, Family, FeedForward, Head, Norms, retie
from edgekit.models.transformer_xl import NAME


def _set_layers(module: Any, chosen: list[Any]) -> None:
    module.transformer.layers = nn.ModuleList(chosen)
    module.config.num_hidden_layers = len(chosen)


def _attention(layer: Any) -> Attention:
    inner = layer.attention
    return Attention(inner.query, inner.key, inner.value, inner.output, inner.scaling, inner.position)


def _set_heads(layer: Any, heads: int, size: int) -> None:
    layer.attention.head_size = size
    if layer.attention.position.out_features != heads * size:
        layer.attention.position.resize(heads * size)


def _set_word_embedding(module: Any, table: nn.Embedding) -> None:
    retie(module, module.transformer.word_embeddings, table)
    module.transformer.word_embeddings = table
    module.config.vocab_size = table.num_embeddings
    module.config.pad_token_id = table.padding_idx


TRANSFORMER_XL = Family(
    name=NAME,
    layers=lambda module: list(module.transformer.layers),
    set_layers=_set_layers,
    attention=_attention,
    set_heads=_set_heads,
    head_size=lambda module: int(module.transformer.layers[0].attention.head_size),
    feed_forward=lambda layer: FeedForward(layer.up, layer.down, layer.activation),
    feed_forward_width="intermediate_size",
    norms=lambda layer: Norms(layer.attention_norm, layer.feed_forward_norm),
    embeddings=lambda module: Embeddings(module.transformer.word_embeddings),
    set_word_embedding=_set_word_embedding,
    head=lambda module: Head(getattr(module, "lm_head", None) or module.classifier),
    reads="last",
    causal=True,
)
