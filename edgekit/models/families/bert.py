"""BERT (Devlin et al. 2018) and what is laid out like it: MiniLM and TinyBERT are BERT by name, RoBERTa (Liu et al.
2019) counts positions from behind its padding token and has a pooler inside its classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from edgekit.errors import BuildError
from edgekit.models.families.family import Attention, Embeddings, Family, FeedForward, Head, Norms


def _attention(layer: Any) -> Attention:
    inner = layer.attention.self
    return Attention(inner.query, inner.key, inner.value, layer.attention.output.dense, inner.scaling)


def _set_heads(layer: Any, heads: int, size: int) -> None:
    inner = layer.attention.self
    inner.num_attention_heads, inner.attention_head_size = heads, size
    inner.all_head_size = heads * size
    inner.scaling = size**-0.5


def _bert_head(module: Any) -> Head:
    if module.bert.pooler is None:
        return Head(module.classifier)
    return Head(module.classifier, dense=module.bert.pooler.dense, activation=torch.tanh)


def _roberta_head(module: Any) -> Head:
    if module.classifier is None or isinstance(module.classifier, nn.Linear):
        return Head(module.classifier)
    return Head(module.classifier.out_proj, dense=module.classifier.dense, activation=torch.tanh)


def _family(name: str, head: Callable[[Any], Head], first: Callable[[Any], int]) -> Family:
    """``name`` is also where the module keeps its encoder; ``first`` gives the row of the first position."""

    def layers(module: Any) -> list[Any]:
        return list(getattr(module, name).encoder.layer)

    def set_layers(module: Any, chosen: list[Any]) -> None:
        getattr(module, name).encoder.layer = nn.ModuleList(chosen)
        module.config.num_hidden_layers = len(chosen)
        for number, layer in enumerate(chosen):
            layer.attention.self.layer_idx = number

    def embeddings(module: Any) -> Embeddings:
        parts = getattr(module, name).embeddings
        return Embeddings(
            parts.word_embeddings,
            parts.position_embeddings,
            parts.token_type_embeddings,
            parts.LayerNorm,
            first=first(parts),
        )

    def set_word_embedding(module: Any, table: nn.Embedding) -> None:
        if first(getattr(module, name).embeddings) and table.padding_idx != module.config.pad_token_id:
            raise BuildError(
                f"{name} counts positions from its padding token, which must keep its number",
                given=table.padding_idx,
                allowed=module.config.pad_token_id,
            )
        getattr(module, name).embeddings.word_embeddings = table
        module.config.vocab_size = table.num_embeddings
        module.config.pad_token_id = table.padding_idx

    return Family(
        name=name,
        layers=layers,
        set_layers=set_layers,
        attention=_attention,
        set_heads=_set_heads,
        head_size=lambda module: int(layers(module)[0].attention.self.attention_head_size),
        feed_forward=lambda layer: FeedForward(
            layer.intermediate.dense, layer.output.dense, layer.intermediate.intermediate_act_fn
        ),
        feed_forward_width="intermediate_size",
        norms=lambda layer: Norms(layer.attention.output.LayerNorm, layer.output.LayerNorm),
        embeddings=embeddings,
        set_word_embedding=set_word_embedding,
        head=head,
    )


BERT = _family("bert", _bert_head, lambda embeddings: 0)
ROBERTA = _family("roberta", _roberta_head, lambda embeddings: int(embeddings.padding_idx) + 1)
