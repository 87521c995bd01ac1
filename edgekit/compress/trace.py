"""The inside of a forward pass: what each layer was given and gave, its attention maps, its queries, keys and values.

Hooks on the parts that the family's adapter names: blind to the family, and to whatever a part was replaced by.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from edgekit.compress.encoded import Batch
from edgekit.models.checkpoint import Checkpoint

#: What of the inside can be asked for; logits always come.
STATES, MAPS, PROJECTIONS = "states", "maps", "projections"


@dataclass(frozen=True)
class Trace:
    """One forward pass. ``logits`` [batch, classes]; by layer: ``inputs`` and ``outputs`` [batch, length, hidden],
    ``maps`` [batch, heads, length, length], ``queries``, ``keys`` and ``values`` [batch, length, width]. What was not
    asked for is empty."""

    logits: torch.Tensor
    inputs: list[torch.Tensor] = field(default_factory=list)
    outputs: list[torch.Tensor] = field(default_factory=list)
    maps: Sequence[torch.Tensor] = ()
    queries: list[torch.Tensor] = field(default_factory=list)
    keys: list[torch.Tensor] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)


def trace(
    checkpoint: Checkpoint, batch: Batch, wanted: Collection[str] = (), fed: Sequence[torch.Tensor] = ()
) -> Trace:
    """Ask the module, and keep what is ``wanted`` of ``STATES``, ``MAPS`` (under :func:`eager` only) and
    ``PROJECTIONS``.

    Args:
        fed: what each layer is given instead of its predecessor's output, [batch, length, hidden] each.
    """
    found = Trace(torch.empty(0))
    with contextlib.ExitStack() as hooks:
        _hook(checkpoint, hooks, wanted, found, list(fed))
        more = {"output_attentions": True} if MAPS in wanted else {}
        answer = checkpoint.module(batch.input_ids, batch.attention_mask, **more)
    maps = answer.attentions if MAPS in wanted else ()
    kept = (found.inputs, found.outputs, maps, found.queries, found.keys, found.values)
    return Trace(answer.logits, *kept)


@contextlib.contextmanager
def eager(*modules: Any) -> Iterator[None]:
    """Attention that gives its maps: fused kernels never form them. What was set before comes back."""
    able = [one for one in modules if hasattr(one, "set_attn_implementation")]
    before = [one.config._attn_implementation for one in able]
    try:
        for one in able:
            one.set_attn_implementation("eager")
        yield
    finally:
        for one, was in zip(able, before, strict=True):
            one.set_attn_implementation(was)


def _hook(
    checkpoint: Checkpoint,
    hooks: contextlib.ExitStack,
    wanted: Collection[str],
    found: Trace,
    fed: list[torch.Tensor],
) -> None:
    # layers that share their weights are one module, called once for each: it is hooked once
    layers = list(dict.fromkeys(checkpoint.family.layers(checkpoint.module)))

    def enter(hook: Any) -> None:
        hooks.callback(hook.remove)

    for layer in layers:
        if fed:
            enter(layer.register_forward_pre_hook(_feed(fed), with_kwargs=True))
        if STATES in wanted:
            enter(layer.register_forward_pre_hook(_given(found.inputs), with_kwargs=True))
            enter(layer.register_forward_hook(_gave(found.outputs)))
        if PROJECTIONS in wanted:
            attention = checkpoint.family.attention(layer)
            for part, kept in (
                (attention.query, found.queries),
                (attention.key, found.keys),
                (attention.value, found.values),
            ):
                enter(part.register_forward_hook(_gave(kept)))


def _feed(fed: list[torch.Tensor]) -> Callable[[Any, Any, Any], Any]:
    def hook(_: Any, inputs: Any, named: Any) -> Any:
        # the hidden states are the first argument in every family, by place or by name
        if inputs:
            return (fed.pop(0), *inputs[1:]), named
        return inputs, {**named, "hidden_states": fed.pop(0)}

    return hook


def _given(kept: list[torch.Tensor]) -> Callable[[Any, Any, Any], None]:
    def hook(_: Any, inputs: Any, named: Any) -> None:
        kept.append(inputs[0] if inputs else named["hidden_states"])

    return hook


def _gave(kept: list[torch.Tensor]) -> Callable[[Any, Any, Any], None]:
    def hook(_: Any, inputs: Any, output: Any) -> None:
        kept.append(output[0] if isinstance(output, tuple) else output)

    return hook
