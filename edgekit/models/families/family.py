"""What an adapter says of its family: where a module keeps its parts, and in what order they compute.

All functions take the classification module (``AutoModelForSequenceClassification``, of words
``AutoModelForTokenClassification``), of a causal family also the language model (``AutoModelForCausalLM``), or one of
its layers. Linear weights are ``[out, in]``; where a projection was factored, its place holds another module that maps
the same widths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgekit.errors import MissingExtra

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtra("torch", "host") from error

#: Weights by their dotted names.
State = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True)
class Attention:
    """The four projections of one layer's self-attention: query, key and value give heads × head size, ``output`` takes
    them. ``scaling`` is what scores are multiplied with. ``position``, where there is one, adds to them what the
    distance of two tokens says; its rows go with the query's (:class:`edgekit.models.relative.Positions`)."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    scaling: float
    position: Any = None


@dataclass(frozen=True)
class FeedForward:
    """The two projections of one layer's feed-forward net, hidden → width → hidden, and what stands between them."""

    up: nn.Linear
    down: nn.Linear
    activation: Callable[[Any], Any]


@dataclass(frozen=True)
class Norms:
    """A layer's two norms. Where the family is ``pre_norm`` they come before attention and feed-forward net, else after
    the residual sums."""

    attention: nn.LayerNorm
    feed_forward: nn.LayerNorm


@dataclass(frozen=True)
class Embeddings:
    """The tables whose rows are summed (``token_type``: row 0 only), their ``norm``, and the ``projection`` to the
    hidden width where the tables are narrower. ``first`` is the row of the first token's position."""

    word: nn.Embedding
    position: nn.Embedding | None = None
    token_type: nn.Embedding | None = None
    norm: nn.LayerNorm | None = None
    projection: nn.Linear | None = None
    first: int = 0


@dataclass(frozen=True)
class Head:
    """From the hidden state of the token that is read to the logits: ``norm``, ``dense`` and its ``activation`` (where
    there are any), ``classifier``. Where each token is read, there is nothing but the classifier behind the last norm;
    a language model's is commonly the word embedding again: one parameter under two names. A model that embeds texts
    has none."""

    classifier: nn.Linear | None
    norm: nn.LayerNorm | None = None
    dense: nn.Linear | None = None
    activation: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Family:
    """Accessors of one family; ``name`` is transformers' ``model_type``.

    ``layers`` stand in the order they compute; layers that share their weights are the same object. ``set_layers``
    replaces the stack. ``head_size`` is in elements; ``set_heads`` tells a layer how many heads it has and their size,
    where the family's attention keeps count. ``feed_forward_width`` is config.json's name of the feed-forward width.
    ``word_embedding`` is the table that token ids index; replacing it replaces the classifier that was tied to it.

    The classifier ``reads`` the first token or the last real one. ``causal`` attention looks back only: such a family
    has language models.

    ``prepare`` brings a module fresh from transformers into the form the accessors expect, in place; ``stored`` gives
    its weights the names and shapes they have in the file, ``restored`` those they have in the module.
    """

    name: str
    layers: Callable[[Any], Sequence[Any]]
    set_layers: Callable[[Any, list[Any]], None]
    attention: Callable[[Any], Attention]
    set_heads: Callable[[Any, int, int], None]
    head_size: Callable[[Any], int]
    feed_forward: Callable[[Any], FeedForward]
    feed_forward_width: str
    norms: Callable[[Any], Norms]
    embeddings: Callable[[Any], Embeddings]
    set_word_embedding: Callable[[Any, nn.Embedding], None]
    head: Callable[[Any], Head]
    reads: Literal["first", "last"] = "first"
    causal: bool = False
    pre_norm: bool = False
    prepare: Callable[[Any], None] = lambda module: None
    stored: Callable[[State], State] = lambda state: state
    restored: Callable[[State], State] = lambda state: state

    def word_embedding(self, module: Any) -> nn.Embedding:
        return self.embeddings(module).word


def retie(module: Any, old: nn.Embedding, new: nn.Embedding) -> None:
    """Let a language model's output that was the table ``old`` be ``new``, in place."""
    output = getattr(module, "lm_head", None)
    if output is not None and output.weight is old.weight:
        output.weight, output.out_features = new.weight, new.num_embeddings
