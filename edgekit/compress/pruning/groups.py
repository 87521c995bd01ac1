"""Units that go together: one head, one feed-forward neuron, or one element of the stream between the layers.

The stream is what every layer reads from and adds to; its width is the model's hidden width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgekit.models.checkpoint import Checkpoint
from edgekit.models.parts import check_plain


@dataclass(frozen=True)
class Group:
    """``units`` of ``size`` consecutive elements each, in the order of the weights.

    ``makers`` are projections (their rows) and embeddings (their columns) that write the elements, ``readers``
    projections whose columns read them, ``norms`` the layer norms over them.
    """

    kind: str
    units: int
    size: int
    makers: tuple[Any, ...]
    readers: tuple[Any, ...]
    norms: tuple[nn.LayerNorm, ...] = ()


def of(checkpoint: Checkpoint, kind: str) -> list[Group]:
    """The groups of ``kind`` ``heads``, ``ffn`` (one of each layer with weights of its own) or ``hidden``: the
    stream, and what the head's first projection makes of it, where there is one. Raises BuildError where a matrix of
    theirs is factored or hashed: it has no rows to cut."""
    found = _streams(checkpoint) if kind == "hidden" else _of_layers(checkpoint, kind)
    for one in (part for group in found for part in (*group.makers, *group.readers)):
        check_plain(one)
    return found


def _of_layers(checkpoint: Checkpoint, kind: str) -> list[Group]:
    family = checkpoint.family
    found = []
    for layer in distinct(family.layers(checkpoint.module)):
        if kind == "heads":
            one, size = family.attention(layer), family.head_size(checkpoint.module)
            units = one.query.out_features // size
            makers = [part for part in (one.query, one.key, one.value, one.position) if part is not None]
            found.append(Group(kind, units, size, tuple(makers), (one.output,)))
        else:
            both = family.feed_forward(layer)
            found.append(Group(kind, both.up.out_features, 1, (both.up,), (both.down,)))
    return found


def distinct(layers: Iterable[Any]) -> list[Any]:
    """The layers in order, each once: several places may share one layer's weights."""
    return list({id(one): one for one in layers}.values())


def projections(checkpoint: Checkpoint) -> list[list[Any]]:
    """The six projections of each distinct layer: query, key, value, output, up, down."""
    family = checkpoint.family
    found = []
    for layer in distinct(family.layers(checkpoint.module)):
        one, both = family.attention(layer), family.feed_forward(layer)
        found.append([one.query, one.key, one.value, one.output, both.up, both.down])
    return found


def cut(checkpoint: Checkpoint, group: Group, kept: Sequence[int]) -> None:
    """Leave only the units ``kept`` (rising) of ``group``, in place: every matrix that makes or reads them shrinks."""
    places = torch.tensor([unit * group.size + one for unit in kept for one in range(group.size)])
    # tied weights are one parameter, and stay one
    done: dict[int, nn.Parameter] = {}

    def shorter(parameter: nn.Parameter, axis: int) -> nn.Parameter:
        if id(parameter) not in done:
            done[id(parameter)] = nn.Parameter(parameter.detach().index_select(axis, places).clone())
        return done[id(parameter)]

    for one in group.makers:
        if isinstance(one, nn.Embedding):
            one.weight, one.embedding_dim = shorter(one.weight, 1), len(places)
            continue
        one.weight, one.out_features = shorter(one.weight, 0), len(places)
        if one.bias is not None:
            one.bias = shorter(one.bias, 0)
    for one in group.readers:
        one.weight, one.in_features = shorter(one.weight, 1), len(places)
    for one in group.norms:
        one.normalized_shape = (len(places),)
        if one.weight is not None:
            one.weight = shorter(one.weight, 0)
        if one.bias is not None:
            one.bias = shorter(one.bias, 0)
    if group.norms:
        checkpoint.module.config.hidden_size = len(kept)
    if group.kind == "heads":
        for layer in checkpoint.family.layers(checkpoint.module):
            if checkpoint.family.attention(layer).output is group.readers[0]:
                checkpoint.family.set_heads(layer, len(kept), group.size)


def _streams(checkpoint: Checkpoint) -> list[Group]:
    module, family = checkpoint.module, checkpoint.family
    tables, head = family.embeddings(module), family.head(module)
    makers: list[Any] = [tables.projection or tables.word]
    if tables.projection is None:
        makers += [one for one in (tables.position, tables.token_type) if one is not None]
    readers: list[Any] = [one for one in (head.dense or head.classifier,) if one is not None]
    norms = [None if tables.projection else tables.norm, head.norm]
    for layer in distinct(family.layers(module)):
        attention, feed_forward, both = family.attention(layer), family.feed_forward(layer), family.norms(layer)
        makers += [attention.output, feed_forward.down]
        readers += [attention.query, attention.key, attention.value, feed_forward.up]
        norms += [both.attention, both.feed_forward]
    width = feed_forward.down.out_features
    there = tuple(one for one in norms if one is not None)
    found = [Group("hidden", width, 1, tuple(makers), tuple(readers), there)]
    if head.dense is not None:
        found.append(Group("hidden", head.dense.out_features, 1, (head.dense,), (head.classifier,)))
    return found
