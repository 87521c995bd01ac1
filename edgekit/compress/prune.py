"""Cut the heads, feed-forward neurons and layers that matter least, then recover by distillation from the teacher.

Importance is first-order Taylor (Michel, Levy & Neubig 2019; Molchanov et al. 2017): with a gate of value 1 on each
part, the loss changes by about |∂loss/∂gate| when the part goes; averaged over texts.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from edgekit.compress import evaluate
from edgekit.compress.distill import keep_layers, learn
from edgekit.compress.encoded import Encoded, encode, in_order
from edgekit.compress.report import StepReport
from edgekit.compress.task import Task
from edgekit.data.samples import Sample
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.prune import Prune

SIZE = 32


@dataclass(frozen=True)
class Importance:
    """Mean |∂loss/∂gate| over texts: ``heads`` [heads] and ``ffn`` [neurons] of each layer, ``layers`` [layers]."""

    heads: list[torch.Tensor]
    ffn: list[torch.Tensor]
    layers: torch.Tensor


def run(options: Prune, task: Task) -> StepReport:
    """Cut, recover for ``options.epochs``, save."""
    started = time.monotonic()
    loaded = checkpoints.load(task.checkpoint)
    check(options, loaded)
    drawn = random.Random(task.seed).sample(task.samples.train, min(options.samples, len(task.samples.train)))
    cut(loaded, options, drawn, task.lengths[-1])
    if options.epochs:
        return learn(loaded, options, task, "prune", started)
    checkpoints.save(loaded, task.out)
    reached = evaluate.accuracy(loaded.module, encode(task.samples.validation, loaded, task.lengths[-1]))
    return StepReport("prune", loaded.parameters, reached, seconds=time.monotonic() - started)


def check(options: Prune, checkpoint: Checkpoint) -> None:
    """Raise BuildError where more is to be kept than there is."""
    structure = checkpoint.structure
    there = {
        "heads": min(one.heads for one in structure.layers),
        "ffn": min(one.ffn for one in structure.layers),
        "layers": len(structure.layers),
    }
    for name, most in there.items():
        wanted = getattr(options, name)
        if wanted is not None and wanted > most:
            raise BuildError(
                f"more {name} are to be kept than the model has",
                where=f"$.compress prune.{name}",
                given=wanted,
                allowed=f"1 to {most}",
            )


def cut(checkpoint: Checkpoint, options: Prune, samples: list[Sample], length: int) -> None:
    """Remove the least important parts, in place: whole layers first, then heads and neurons of those that stay."""
    data = encode(samples, checkpoint, length)
    if options.layers is not None:
        keep_layers(checkpoint, top(importance(checkpoint, data).layers, options.layers))
    if options.heads is None and options.ffn is None:
        return
    found = importance(checkpoint, data)
    size = checkpoint.family.head_size(checkpoint.module)
    for number, layer in enumerate(checkpoint.family.layers(checkpoint.module)):
        if options.heads is not None:
            _cut_heads(checkpoint, layer, top(found.heads[number], options.heads), size)
        if options.ffn is not None:
            _cut_neurons(checkpoint, layer, top(found.ffn[number], options.ffn))


def top(scores: torch.Tensor, count: int) -> list[int]:
    """Indices of the ``count`` highest scores, rising; the first among equals."""
    order = sorted(range(len(scores)), key=lambda one: (-scores[one].item(), one))
    return sorted(order[:count])


def importance(checkpoint: Checkpoint, data: Encoded) -> Importance:
    """The importance of each head, neuron and layer for the loss on ``data``."""
    structure = checkpoint.structure
    sums = Importance(
        [torch.zeros(one.heads) for one in structure.layers],
        [torch.zeros(one.ffn) for one in structure.layers],
        torch.zeros(len(structure.layers)),
    )
    checkpoint.module.eval()
    for batch in in_order(data, SIZE):
        with _gated(checkpoint, len(batch.rows)) as gates:
            logits = checkpoint.module(batch.input_ids, batch.attention_mask).logits
            # summed, not averaged: a text's gradient must not depend on the batch it came in
            cross_entropy(logits, batch.labels, reduction="sum").backward(
                inputs=[*gates.heads, *gates.ffn, gates.layers]
            )
        for total, gate in zip(
            [*sums.heads, *sums.ffn, sums.layers], [*gates.heads, *gates.ffn, gates.layers], strict=True
        ):
            assert gate.grad is not None
            total += gate.grad.abs().sum(0)
    return sums


@contextlib.contextmanager
def _gated(checkpoint: Checkpoint, texts: int) -> Iterator[Importance]:
    """Gates of value 1, one a text, on every part: ``heads`` [texts, heads], ``ffn`` [texts, neurons], ``layers``
    [texts, layers]."""
    family, structure = checkpoint.family, checkpoint.structure
    gates = Importance(
        [torch.ones(texts, one.heads, requires_grad=True) for one in structure.layers],
        [torch.ones(texts, one.ffn, requires_grad=True) for one in structure.layers],
        torch.ones(texts, len(structure.layers), requires_grad=True),
    )
    hooks = []
    for number, layer in enumerate(family.layers(checkpoint.module)):
        spread = gates.heads[number].repeat_interleave(structure.head_size, dim=1)
        hooks.append(family.attention(layer).output.register_forward_pre_hook(_scaled(spread)))
        hooks.append(family.feed_forward(layer).down.register_forward_pre_hook(_scaled(gates.ffn[number])))
        hooks.append(layer.register_forward_hook(_bypassed(gates.layers[:, number])))
    try:
        yield gates
    finally:
        for hook in hooks:
            hook.remove()


def _scaled(gate: torch.Tensor) -> Callable[[Any, Any], Any]:
    return lambda _, inputs: (inputs[0] * gate.unsqueeze(1),)


def _bypassed(gate: torch.Tensor) -> Callable[[Any, Any, Any], Any]:
    """At 1 the layer's output, at 0 its input."""

    def hook(_: Any, inputs: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        mixed = inputs[0] + gate[:, None, None] * (hidden - inputs[0])
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    return hook


def _cut_heads(checkpoint: Checkpoint, layer: Any, kept: list[int], size: int) -> None:
    attention = checkpoint.family.attention(layer)
    rows = [head * size + one for head in kept for one in range(size)]
    for projection in (attention.query, attention.key, attention.value):
        keep_rows(projection, rows)
    keep_columns(attention.output, rows)
    checkpoint.family.set_heads(layer, len(kept))


def _cut_neurons(checkpoint: Checkpoint, layer: Any, kept: list[int]) -> None:
    feed_forward = checkpoint.family.feed_forward(layer)
    keep_rows(feed_forward.up, kept)
    keep_columns(feed_forward.down, kept)


def keep_rows(linear: nn.Linear, rows: list[int]) -> None:
    """Leave only these outputs of a projection, in place."""
    linear.weight = nn.Parameter(linear.weight.detach()[rows].clone())
    if linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.detach()[rows].clone())
    linear.out_features = len(rows)


def keep_columns(linear: nn.Linear, columns: list[int]) -> None:
    """Leave only these inputs of a projection, in place."""
    linear.weight = nn.Parameter(linear.weight.detach()[:, columns].clone())
    linear.in_features = len(columns)
