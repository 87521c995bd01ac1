"""What a student starts as: layers chosen, averaged, folded or fresh, and widths cut, before it learns anything.

The stream between the layers is cut by PCA (SliceGPT, Ashkboos 2024): an orthonormal basis of its strongest directions
turns every matrix that writes or reads it. Layer norms do not commute with that; SliceGPT has none left, here each is
fitted by least squares to what the teacher's gives in the new basis, on real texts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import layer_norm
from transformers.activations import ACT2FN

from edgekit.compress import fresh, teacher
from edgekit.compress.basis import basis
from edgekit.compress.encoded import Batch
from edgekit.compress.pruning import groups
from edgekit.errors import BuildError
from edgekit.models import parts
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.distill import Distill, Student

#: How many training texts the basis and the norms are found on.
TEXTS = 256
#: Names of the feed-forward's activation in the families' configs.
ACTIVATIONS = ("hidden_act", "activation", "activation_function")
#: How names of dropout shares end there.
DROPOUTS = ("dropout", "dropout_prob", "pdrop")


def start(checkpoint: Checkpoint, options: Distill, texts: Callable[[], Batch], longest: int) -> None:
    """Make the student of its teacher, in place.

    Args:
        texts: gives a batch of training texts; asked only where the hidden width is cut.
        longest: the length bucket that positions must suffice for, in tokens.

    Raises BuildError where the model lacks a layer or has less than is to be kept.
    """
    wanted = options.student
    _check(checkpoint, wanted)
    if wanted.start == "fresh":
        fresh.start(checkpoint, wanted)
    else:
        _cut_from(checkpoint, options, texts)
    if wanted.positions is not None:
        place(checkpoint, wanted.positions, longest)
    if wanted.activation != "same":
        activate(checkpoint, wanted.activation)
    if wanted.dropout is not None:
        drop(checkpoint, wanted.dropout)


def _cut_from(checkpoint: Checkpoint, options: Distill, texts: Callable[[], Batch]) -> None:
    wanted = options.student
    if options.layers:
        _merged(checkpoint, options.layers, wanted.start)
    if wanted.heads is not None:
        _cut(checkpoint, "heads", wanted.heads)
    if wanted.ffn is not None:
        _cut(checkpoint, "ffn", wanted.ffn)
    if wanted.hidden is not None and wanted.hidden < checkpoint.structure.hidden:
        narrow(checkpoint, wanted.hidden, texts())


def keep_layers(checkpoint: Checkpoint, kept: Sequence[int]) -> None:
    """Leave only the layers with the indices ``kept``, in place. Raises BuildError for a layer the model lacks."""
    layers = list(checkpoint.family.layers(checkpoint.module))
    beyond = [one for one in kept if not 0 <= one < len(layers)]
    if beyond:
        raise BuildError(
            "the model has no such layer",
            given=", ".join(str(one) for one in beyond),
            allowed=f"layers 0 to {len(layers) - 1}",
            where="$.compress distill.layers",
            remedy="layers count from 0",
        )
    checkpoint.family.set_layers(checkpoint.module, [layers[one] for one in kept])
    checkpoint.teacher_layers = tuple(checkpoint.teacher_layers[one] for one in kept)


def averaged(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of several layers' weights."""
    return {name: torch.stack([one[name] for one in states]).mean(0) for name in states[0]}


def folded(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The first layer's weights, plus every other one's difference from them (LaCo, Yang 2024)."""
    first = states[0]
    return {name: first[name] + sum(one[name] - first[name] for one in states[1:]) for name in first}


STARTS = {"averaged": averaged, "folded": folded}


def narrow(checkpoint: Checkpoint, hidden: int, batch: Batch) -> None:
    """Cut the stream between the layers to its ``hidden`` strongest directions on ``batch``, in place."""
    stream = groups.of(checkpoint, "hidden")[0]
    real = batch.attention_mask.bool()
    norms, given = list(dict.fromkeys(stream.norms)), _norms_give(checkpoint, stream.norms, batch)
    turn = basis(list(given.values()), hidden)
    targets = {norm: given[norm] @ turn for norm in norms}
    done: set[nn.Parameter] = set()
    for one in stream.makers:
        # a table's columns, a projection's rows; tied weights are one parameter, and turned once
        if isinstance(one, nn.Embedding):
            one.embedding_dim = hidden
            _turn(one, "weight", done, lambda weight: weight @ turn)
            continue
        one.out_features = hidden
        _turn(one, "weight", done, lambda weight: turn.T @ weight)
        if one.bias is not None:
            _turn(one, "bias", done, lambda bias: bias @ turn)
    for one in stream.readers:
        one.in_features = hidden
        _turn(one, "weight", done, lambda weight: weight @ turn)
    with contextlib.ExitStack() as hooks, torch.no_grad():
        for norm in norms:
            norm.normalized_shape = (hidden,)
            norm.weight, norm.bias = nn.Parameter(torch.ones(hidden)), nn.Parameter(torch.zeros(hidden))
            # in the order they compute, each on what those before it now give
            hooks.callback(norm.register_forward_hook(_fitting(targets[norm], real)).remove)
        checkpoint.module.config.hidden_size = hidden
        checkpoint.module(batch.input_ids, batch.attention_mask)


def activate(checkpoint: Checkpoint, name: str) -> None:
    """Replace the feed-forward's activation in every layer, in place."""
    config = checkpoint.module.config
    for layer in groups.distinct(checkpoint.family.layers(checkpoint.module)):
        before = checkpoint.family.feed_forward(layer).activation
        for part in layer.modules():
            for attribute, child in list(part.named_children()):
                if child is before:
                    setattr(part, attribute, ACT2FN[name])
    for attribute in ACTIVATIONS:
        if hasattr(config, attribute):
            setattr(config, attribute, name)


def place(checkpoint: Checkpoint, count: int, longest: int) -> None:
    """Cut the position table to its first ``count`` positions, in place. Raises BuildError where a text of ``longest``
    tokens would have none, or the model has fewer, or no table."""
    there = checkpoint.family.embeddings(checkpoint.module)
    table, where = there.position, "$.compress distill.student.positions"
    if table is None:
        raise BuildError("this family has no table of positions to cut", where=where, remedy="leave positions out")
    known = table.num_embeddings - there.first
    if not longest <= count <= known:
        raise BuildError(
            "the student's positions do not fit",
            where=where,
            given=count,
            allowed=f"{longest} (the longest bucket) to {known}",
        )
    table.num_embeddings = there.first + count
    table.weight = nn.Parameter(table.weight.detach()[: there.first + count].clone())
    checkpoint.module.config.max_position_embeddings = there.first + count


def drop(checkpoint: Checkpoint, share: float) -> None:
    """Set the share of all dropouts, and what the family's config says of them, in place."""
    for part in checkpoint.module.modules():
        if isinstance(part, nn.Dropout):
            part.p = share
    config = checkpoint.module.config
    for name, value in config.to_dict().items():
        if isinstance(value, float) and name.endswith(DROPOUTS):
            setattr(config, name, share)


def _check(checkpoint: Checkpoint, wanted: Student) -> None:
    structure = checkpoint.structure
    there = {
        "heads": min(one.heads for one in structure.layers),
        "ffn": min(one.ffn for one in structure.layers),
        "hidden": structure.hidden,
    }
    if wanted.start == "fresh":
        there = {"hidden": structure.hidden}
    for name, most in there.items():
        kept = getattr(wanted, name)
        if kept is not None and kept > most:
            raise BuildError(
                f"the student's {name} are more than the model has",
                where=f"$.compress distill.student.{name}",
                given=kept,
                allowed=f"up to {most}",
            )
    if wanted.start != "fresh" and wanted.heads is not None and wanted.heads * structure.head_size % 8:
        raise BuildError(
            "the heads' width together is a multiple of 8, as the kernels work",
            where="$.compress distill.student.heads",
            given=f"{wanted.heads} heads of {structure.head_size}",
        )


def _merged(checkpoint: Checkpoint, kept: Sequence[int], how: str) -> None:
    whole, layers = replace(checkpoint), list(checkpoint.family.layers(checkpoint.module))
    keep_layers(checkpoint, kept)
    if how == "chosen":
        return
    merged = []
    parts.check_whole(layers, "$.compress distill.student.start", how, "chosen")
    for fold in teacher.groups(checkpoint, whole):
        states = [layers[one].state_dict() for one in range(fold.first, fold.last + 1)]
        shapes = {tuple(one.shape for one in state.values()) for state in states}
        if len(shapes) > 1:
            raise BuildError(
                "layers of different widths cannot be merged into one",
                where="$.compress distill.student.start",
                given=f"{how}, layers {fold.first} to {fold.last}",
                remedy="write this step before those that cut layers to different widths, or start: chosen",
            )
        merged.append(STARTS[how](states))
    for layer, state in zip(checkpoint.family.layers(checkpoint.module), merged, strict=True):
        layer.load_state_dict(state)


def _cut(checkpoint: Checkpoint, kind: str, kept: int) -> None:
    """Keep the units whose weights are greatest: the norm of what writes times the norm of what reads."""
    for group in groups.of(checkpoint, kind):
        written = torch.stack(
            [one.weight.detach().unflatten(0, (group.units, -1)).norm(dim=(1, 2)) for one in group.makers]
        ).mean(0)
        read = group.readers[0].weight.detach().unflatten(1, (group.units, -1)).norm(dim=(0, 2))
        order = (written * read).argsort(descending=True, stable=True)[:kept]
        groups.cut(checkpoint, group, sorted(order.tolist()))


def _turn(part: Any, name: str, done: set[nn.Parameter], turned: Callable[[torch.Tensor], torch.Tensor]) -> None:
    parameter = getattr(part, name)
    if parameter in done:
        return
    # in place of its values, so that tied weights stay one parameter
    parameter.data = turned(parameter.detach()).contiguous()
    done.add(parameter)


def _norms_give(
    checkpoint: Checkpoint, norms: Sequence[nn.LayerNorm], batch: Batch
) -> dict[nn.LayerNorm, torch.Tensor]:
    """What each norm gives for the batch's real tokens, [tokens, hidden]."""
    found: dict[nn.LayerNorm, torch.Tensor] = {}
    real = batch.attention_mask.bool()

    def seen(norm: nn.LayerNorm) -> Callable[[Any, Any, torch.Tensor], None]:
        return lambda _, inputs, output: found.__setitem__(norm, output[real] if output.dim() == 3 else output)

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for norm in norms:
            hooks.callback(norm.register_forward_hook(seen(norm)).remove)
        checkpoint.module(batch.input_ids, batch.attention_mask)
    return found


def _fitting(target: torch.Tensor, real: torch.Tensor) -> Callable[[Any, Any, Any], torch.Tensor]:
    """A hook that sets a norm's weight and bias by least squares, and gives its output with them."""

    def hook(norm: nn.LayerNorm, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        plain = layer_norm(inputs[0], norm.normalized_shape, eps=norm.eps)
        tokens = plain[real]
        middle, mean = tokens.mean(0), target.mean(0)
        spread = (tokens - middle).square().mean(0).clamp(min=1e-6)
        slope = ((tokens - middle) * (target - mean)).mean(0) / spread
        norm.weight.data, norm.bias.data = slope, mean - slope * middle
        return plain * norm.weight + norm.bias

    return hook
