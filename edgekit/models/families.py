"""How each model family names its parts. A new family is one :class:`Family` and one line of ``FAMILIES``.

All functions take the classification module (``AutoModelForSequenceClassification``) or one of its layers. Linear
weights are ``[out, in]``; ``attention`` gives query, key, value (rows are heads × head size) and the output projection
(columns are heads × head size).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from edgekit.errors import BuildError, MissingExtra

try:
    from torch import nn
except ImportError as error:
    raise MissingExtra("torch", "host") from error


@dataclass(frozen=True)
class Attention:
    """The four projections of one layer's self-attention."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear


@dataclass(frozen=True)
class FeedForward:
    """The two projections of one layer's feed-forward net: hidden → width → hidden."""

    up: nn.Linear
    down: nn.Linear


@dataclass(frozen=True)
class Family:
    """Accessors of one family; ``name`` is transformers' ``model_type``.

    ``set_layers`` replaces the stack, ``set_heads`` tells a layer how many heads it has left, where the family's
    attention keeps count. ``word_embedding`` is the table that token ids index.
    """

    name: str
    layers: Callable[[Any], Iterable[Any]]
    set_layers: Callable[[Any, list[Any]], None]
    attention: Callable[[Any], Attention]
    set_heads: Callable[[Any, int], None]
    head_size: Callable[[Any], int]
    feed_forward: Callable[[Any], FeedForward]
    word_embedding: Callable[[Any], nn.Embedding]
    set_word_embedding: Callable[[Any, nn.Embedding], None]


def of(model_type: str) -> Family:
    """The adapter for transformers' ``model_type``. Raises BuildError for a family edgekit does not know."""
    if model_type not in FAMILIES:
        raise BuildError(
            "this model's family has no adapter",
            given=model_type,
            allowed=sorted(FAMILIES),
            remedy="take a model of a known family (config.json: model_type)",
        )
    return FAMILIES[model_type]


def _bert_set_layers(module: Any, layers: list[Any]) -> None:
    module.bert.encoder.layer = nn.ModuleList(layers)
    module.config.num_hidden_layers = len(layers)
    for number, layer in enumerate(layers):
        layer.attention.self.layer_idx = number


def _bert_attention(layer: Any) -> Attention:
    inner = layer.attention.self
    return Attention(inner.query, inner.key, inner.value, layer.attention.output.dense)


def _bert_set_heads(layer: Any, heads: int) -> None:
    # informational: BERT's forward pass derives the count from the projections' width
    inner = layer.attention.self
    inner.num_attention_heads = heads
    inner.all_head_size = heads * inner.attention_head_size


def _bert_set_word_embedding(module: Any, table: nn.Embedding) -> None:
    module.bert.embeddings.word_embeddings = table
    module.config.vocab_size = table.num_embeddings
    module.config.pad_token_id = table.padding_idx


_BERT = Family(
    name="bert",
    layers=lambda module: module.bert.encoder.layer,
    set_layers=_bert_set_layers,
    attention=_bert_attention,
    set_heads=_bert_set_heads,
    head_size=lambda module: int(module.config.hidden_size // module.config.num_attention_heads),
    feed_forward=lambda layer: FeedForward(layer.intermediate.dense, layer.output.dense),
    word_embedding=lambda module: module.bert.embeddings.word_embeddings,
    set_word_embedding=_bert_set_word_embedding,
)

FAMILIES: dict[str, Family] = {"bert": _BERT}
