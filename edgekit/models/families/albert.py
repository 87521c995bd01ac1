"""ALBERT (Lan et al. 2019): all layers compute with one set of weights, embeddings are narrower than the hidden states.

Layers that no longer share everything (a few were cut apart) stand in one group each, and a group may stand several
times; transformers takes as many groups as layers.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from edgekit.models.families.family import Attention, Embeddings, Family, FeedForward, Head, Norms


def _layers(module: Any) -> list[Any]:
    encoder, config = module.albert.encoder, module.config
    share = config.num_hidden_layers / config.num_hidden_groups
    groups = [encoder.albert_layer_groups[int(number / share)] for number in range(config.num_hidden_layers)]
    return [layer for group in groups for layer in group.albert_layers]


def _set_layers(module: Any, chosen: list[Any]) -> None:
    encoder, config = module.albert.encoder, module.config
    groups = {}
    for layer in chosen:
        if layer not in groups:
            groups[layer] = type(encoder.albert_layer_groups[0])(config)
            groups[layer].albert_layers = nn.ModuleList([layer])
    stack = [groups[layer] for layer in chosen]
    encoder.albert_layer_groups = nn.ModuleList(stack if len(groups) > 1 else stack[:1])
    config.num_hidden_layers, config.num_hidden_groups = len(stack), len(encoder.albert_layer_groups)
    config.inner_group_num = 1


def _attention(layer: Any) -> Attention:
    inner = layer.attention
    return Attention(inner.query, inner.key, inner.value, inner.dense, inner.scaling)


def _set_heads(layer: Any, heads: int, size: int) -> None:
    inner = layer.attention
    inner.num_attention_heads, inner.attention_head_size = heads, size
    inner.all_head_size = heads * size
    inner.scaling = size**-0.5


def _embeddings(module: Any) -> Embeddings:
    parts = module.albert.embeddings
    return Embeddings(
        parts.word_embeddings,
        parts.position_embeddings,
        parts.token_type_embeddings,
        parts.LayerNorm,
        module.albert.encoder.embedding_hidden_mapping_in,
    )


def _set_word_embedding(module: Any, table: nn.Embedding) -> None:
    module.albert.embeddings.word_embeddings = table
    module.config.vocab_size = table.num_embeddings
    module.config.pad_token_id = table.padding_idx


def _head(module: Any) -> Head:
    pooler = module.albert.pooler
    return Head(module.classifier, dense=pooler, activation=None if pooler is None else module.albert.pooler_activation)


ALBERT = Family(
    name="albert",
    layers=_layers,
    set_layers=_set_layers,
    attention=_attention,
    set_heads=_set_heads,
    head_size=lambda module: int(_layers(module)[0].attention.attention_head_size),
    feed_forward=lambda layer: FeedForward(layer.ffn, layer.ffn_output, layer.activation),
    feed_forward_width="intermediate_size",
    norms=lambda layer: Norms(layer.attention.LayerNorm, layer.full_layer_layer_norm),
    embeddings=_embeddings,
    set_word_embedding=_set_word_embedding,
    head=_head,
)
