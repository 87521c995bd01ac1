"""DistilBERT (Sanh et al. 2019): BERT without token types, its pooler before the classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from edgekit.models.families.family import Attention, Embeddings, Family, FeedForward, Head, Norms


def _layers(module: Any) -> list[Any]:
    return list(module.distilbert.transformer.layer)


def _set_layers(module: Any, chosen: list[Any]) -> None:
    module.distilbert.transformer.layer = nn.ModuleList(chosen)
    module.distilbert.transformer.n_layers = module.config.n_layers = len(chosen)


def _attention(layer: Any) -> Attention:
    inner = layer.attention
    return Attention(inner.q_lin, inner.k_lin, inner.v_lin, inner.out_lin, inner.scaling)


def _set_heads(layer: Any, heads: int, size: int) -> None:
    inner = layer.attention
    inner.n_heads, inner.attention_head_size, inner.dim = heads, size, heads * size
    inner.scaling = size**-0.5


def _embeddings(module: Any) -> Embeddings:
    parts = module.distilbert.embeddings
    return Embeddings(parts.word_embeddings, parts.position_embeddings, norm=parts.LayerNorm)


def _set_word_embedding(module: Any, table: nn.Embedding) -> None:
    module.distilbert.embeddings.word_embeddings = table
    module.config.vocab_size = table.num_embeddings
    module.config.pad_token_id = table.padding_idx


def _head(module: Any) -> Head:
    dense = getattr(module, "pre_classifier", None)
    return Head(module.classifier, dense=dense, activation=None if dense is None else torch.relu)


DISTILBERT = Family(
    name="distilbert",
    layers=_layers,
    set_layers=_set_layers,
    attention=_attention,
    set_heads=_set_heads,
    head_size=lambda module: int(_layers(module)[0].attention.attention_head_size),
    feed_forward=lambda layer: FeedForward(layer.ffn.lin1, layer.ffn.lin2, layer.ffn.activation),
    feed_forward_width="hidden_dim",
    norms=lambda layer: Norms(layer.sa_layer_norm, layer.output_layer_norm),
    embeddings=_embeddings,
    set_word_embedding=_set_word_embedding,
    head=_head,
)
