"""By which measure units go: one score a unit, higher is worth more. The source of each stands at its function."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from edgekit.compress.encoded import Batch, Encoded, in_order
from edgekit.compress.evaluate import nll
from edgekit.compress.pruning import proxy
from edgekit.compress.pruning.groups import Group
from edgekit.models.checkpoint import Checkpoint

SIZE = 32
#: A unit answers to a token where its output is above this share of the root mean square of its group's.
ACTIVE = 0.1


def scores(
    criterion: str, checkpoint: Checkpoint, groups: Sequence[Group], data: Encoded, seed: int
) -> list[torch.Tensor]:
    """The score of each unit, [units] for each of ``groups``; ``movement`` has none before training.

    ``data`` are the samples that taylor and activation ask; the others look at the weights alone.
    """
    if criterion == "taylor":
        return taylor(checkpoint, groups, data)
    if criterion == "activation":
        return activation(checkpoint, groups, data)
    if criterion == "random":
        draw = torch.Generator().manual_seed(seed)
        return [torch.rand(one.units, generator=draw) for one in groups]
    return [_BY_WEIGHTS[criterion](one) for one in groups]


def taylor(checkpoint: Checkpoint, groups: Sequence[Group], data: Encoded) -> list[torch.Tensor]:
    """Mean |∂loss/∂gate| over texts, for a gate of value 1 on each unit (Molchanov et al. 2017; Michel, Levy & Neubig
    2019): by about that much the loss changes when the unit goes. Gates of the stream stand behind its norms."""

    def hooked(gates: list[torch.Tensor]) -> Iterator[Any]:
        for group, gate in zip(groups, gates, strict=True):
            spread = gate.repeat_interleave(group.size, dim=1)
            for norm in group.norms:
                yield norm.register_forward_hook(_times(spread))
            for reader in () if group.norms else group.readers:
                yield reader.register_forward_pre_hook(_times_input(spread))

    return _gate_gradients(checkpoint, data, [one.units for one in groups], hooked)


def layers(criterion: str, checkpoint: Checkpoint, data: Encoded, seed: int) -> torch.Tensor:
    """The score of each whole layer, [layers].

    ``taylor`` puts a gate between the layer's output (1) and its input (0); ``magnitude`` is the norm of its weights.
    """
    stack = list(checkpoint.family.layers(checkpoint.module))
    if criterion == "random":
        return torch.rand(len(stack), generator=torch.Generator().manual_seed(seed))
    if criterion == "magnitude":
        return torch.stack([_norm([one for one in layer.parameters() if one.dim() > 1]) for layer in stack])
    places: dict[int, list[int]] = {}
    for number, layer in enumerate(stack):
        places.setdefault(id(layer), []).append(number)
    parts = {id(layer): layer for layer in stack}

    def hooked(gates: list[torch.Tensor]) -> Iterator[Any]:
        for key, numbers in places.items():
            yield parts[key].register_forward_hook(_bypass(gates[0], numbers), with_kwargs=True)

    (found,) = _gate_gradients(checkpoint, data, [len(stack)], hooked)
    return found


def magnitude(group: Group) -> torch.Tensor:
    """The L2 norm of all weights that make or read a unit (Han et al. 2015; Li et al. 2017 for whole filters)."""
    made = sum(_rows(one, group).square().sum(1) for one in group.makers)
    read = sum(_columns(one, group).square().sum(1) for one in group.readers)
    return (made + read).sqrt()


def fpgm(group: Group) -> torch.Tensor:
    """The sum of distances from a unit's filter (its makers' weights) to all others of its group: the filters nearest
    to their geometric median are those that the others can stand in for (He et al. 2019)."""
    filters = torch.cat([_rows(one, group) for one in group.makers], dim=1)
    # by products: the differences of all pairs would not fit into memory
    squares = filters.square().sum(1)
    between = squares[:, None] + squares[None, :] - 2 * filters @ filters.T
    return between.clamp_min(0).sqrt().sum(1)


def activation(checkpoint: Checkpoint, groups: Sequence[Group], data: Encoded) -> list[torch.Tensor]:
    """The share of tokens that a unit answers to: one minus APoZ (Hu et al. 2016).

    Hu counts the zeros of ReLU. GELU has few: an output counts as zero where it is under a tenth of the root mean
    square of the group's outputs for that token. Among units that answer equally often, the weaker is worth less.
    """
    often = [torch.zeros(one.units) for one in groups]
    strong = [torch.zeros(one.units) for one in groups]
    tokens = 0
    for batch, outputs in _outputs(checkpoint, groups, data):
        there = batch.attention_mask.bool()
        tokens += int(there.sum())
        for number, (group, found) in enumerate(zip(groups, outputs, strict=True)):
            for one in found:
                answer = (
                    (one[there] if one.dim() == 3 else one)
                    .unflatten(-1, (group.units, group.size))
                    .square()
                    .mean(-1)
                    .sqrt()
                )
                usual = answer.square().mean(-1, keepdim=True).sqrt()
                often[number] += (answer > ACTIVE * usual).sum(0).cpu() / len(found)
                strong[number] += answer.sum(0).cpu() / len(found)
    # under one token's share: it decides between equals only
    ties = [one / (one.max() + 1e-12) / 2 for one in strong]
    return [(one + tie) / tokens for one, tie in zip(often, ties, strict=True)]


def _outputs(
    checkpoint: Checkpoint, groups: Sequence[Group], data: Encoded
) -> Iterator[tuple[Batch, list[list[torch.Tensor]]]]:
    """For each batch and group, its elements [texts, length, units × size] (in the head: [texts, units]) wherever they
    are read, or made by a norm."""
    found: list[list[torch.Tensor]] = [[] for _ in groups]
    hooks = []
    for group, kept in zip(groups, found, strict=True):
        for norm in group.norms:
            hooks.append(norm.register_forward_hook(lambda _, inputs, output, kept=kept: kept.append(output)))
        for reader in () if group.norms else group.readers:
            hooks.append(reader.register_forward_pre_hook(lambda _, inputs, kept=kept: kept.append(inputs[0])))
    try:
        with _asking(checkpoint.module), torch.inference_mode():
            device = next(checkpoint.module.parameters()).device
            for one in in_order(data, SIZE):
                batch = one.to(device)
                for kept in found:
                    kept.clear()
                checkpoint.module(batch.input_ids, batch.attention_mask)
                yield batch, found
    finally:
        for hook in hooks:
            hook.remove()


def _gate_gradients(
    checkpoint: Checkpoint,
    data: Encoded,
    counts: Sequence[int],
    hooked: Callable[[list[torch.Tensor]], Iterator[Any]],
) -> list[torch.Tensor]:
    """Mean |∂loss/∂gate| of gates of value 1, one a text and unit, that ``hooked`` puts into the model."""
    device = next(checkpoint.module.parameters()).device
    sums = [torch.zeros(one) for one in counts]
    with _asking(checkpoint.module):
        for one in in_order(data, SIZE):
            batch = one.to(device)
            gates = [torch.ones(len(batch.rows), units, requires_grad=True, device=device) for units in counts]
            hooks = list(hooked(gates))
            try:
                logits = checkpoint.module(batch.input_ids, batch.attention_mask).logits
                # summed, not averaged: a text's gradient must not depend on the batch it came in
                nll(logits, batch.labels).sum().backward(inputs=gates)
            finally:
                for hook in hooks:
                    hook.remove()
            for total, gate in zip(sums, gates, strict=True):
                assert gate.grad is not None
                total += gate.grad.abs().sum(0).cpu()
    return [one / len(data) for one in sums]


@contextlib.contextmanager
def _asking(module: Any) -> Iterator[None]:
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _times(gate: torch.Tensor) -> Callable[[Any, Any, Any], Any]:
    return lambda _, inputs, output: output * _like(gate, output)


def _times_input(gate: torch.Tensor) -> Callable[[Any, Any], Any]:
    return lambda _, inputs: (inputs[0] * _like(gate, inputs[0]), *inputs[1:])


def _like(gate: torch.Tensor, elements: torch.Tensor) -> torch.Tensor:
    """A gate a text, [texts, elements], for elements [texts, length, elements], or [texts, elements] in the head."""
    return gate.unsqueeze(1) if elements.dim() == 3 else gate


def _bypass(gates: torch.Tensor, places: Sequence[int]) -> Callable[[Any, Any, Any, Any], Any]:
    """At 1 the layer's output, at 0 its input; a layer that stands in several places is called once for each."""
    turn = iter(places)

    def hook(_: Any, inputs: Any, named: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        given = next(one for one in (*inputs, *named.values()) if isinstance(one, torch.Tensor))
        mixed = given + gates[:, next(turn), None, None] * (hidden - given)
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    return hook


def _rows(maker: Any, group: Group) -> torch.Tensor:
    """A maker's weights, [units, rest]."""
    weight = maker.weight.detach()
    if isinstance(maker, torch.nn.Embedding):
        weight = weight.T
    return weight.reshape(group.units, -1)


def _columns(reader: Any, group: Group) -> torch.Tensor:
    """A reader's weights, [units, rest]."""
    return reader.weight.detach().T.reshape(group.units, -1)


def _norm(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([one.detach().square().sum() for one in weights]).sum().sqrt()


_BY_WEIGHTS: dict[str, Callable[[Group], torch.Tensor]] = {
    "magnitude": magnitude,
    "fpgm": fpgm,
    "proxy": proxy.scores,
}
