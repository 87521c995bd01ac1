"""Units silenced but not yet cut: a gate a unit, 1 or 0, that the model carries while it trains.

A model whose gates are closed answers as the one with those units cut will. For heads and neurons that is plain: what
reads them reads zeros. An element of the stream is closed where it is written, and every layer norm takes its mean and
variance over the open elements only, as it will when the others are gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekit.compress.pruning.groups import Group
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint

#: The name under which the model carries its gates, so that they are in every saved state of a training.
NAME = "pruning"


class Gate(nn.Module):  # type: ignore[misc]
    """The gates of one group: ``open`` [units], 1 or 0. With ``learned``, ``scores`` [units] take the gradient that the
    gates get, the closed ones too (straight-through: Sanh, Wolf & Rush 2020)."""

    open: torch.Tensor
    scores: nn.Parameter | None

    def __init__(self, group: Group, learned: bool) -> None:
        super().__init__()
        self.group = group
        self.register_buffer("open", torch.ones(group.units))
        self.scores = nn.Parameter(torch.zeros(group.units)) if learned else None

    def forward(self) -> torch.Tensor:
        """One factor an element, [units × size]."""
        gate = self.open if self.scores is None else self.open + (self.scores - self.scores.detach())
        return gate.unsqueeze(1).expand(-1, self.group.size).reshape(-1)

    def close(self, units: Sequence[int]) -> None:
        """Close these units and open all others."""
        self.open.fill_(1.0)
        self.open[list(units)] = 0.0

    @property
    def kept(self) -> list[int]:
        """The open units, rising."""
        found: list[int] = self.open.nonzero().flatten().tolist()
        return found


@contextlib.contextmanager
def gated(checkpoint: Checkpoint, groups: Sequence[Group], learned: bool = False) -> Iterator[list[Gate]]:
    """The model carries a gate for each of ``groups`` inside the block; all are open at first."""
    gates = [Gate(one, learned) for one in groups]
    hooks = [hook for gate in gates for hook in _hooked(gate)]
    setattr(checkpoint.module, NAME, nn.ModuleList(gates))
    try:
        yield gates
    finally:
        for hook in hooks:
            hook.remove()
        delattr(checkpoint.module, NAME)


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Save a model that carries gates without them: whole, as it was trained so far."""
    gates = getattr(checkpoint.module, NAME)
    delattr(checkpoint.module, NAME)
    try:
        checkpoints.save(checkpoint, folder)
    finally:
        setattr(checkpoint.module, NAME, gates)


def _hooked(gate: Gate) -> Iterator[Any]:
    group = gate.group
    if group.norms:
        for one in group.makers:
            yield one.register_forward_hook(lambda _, inputs, output: output * gate())
        for norm in group.norms:
            yield norm.register_forward_hook(_norm_of_the_open(gate))
    else:
        for one in group.readers:
            yield one.register_forward_pre_hook(lambda _, inputs: (inputs[0] * gate(),))


def _norm_of_the_open(gate: Gate) -> Callable[[Any, Any, Any], torch.Tensor]:
    """Layer norm over the open elements alone; the closed ones come out as zero."""

    def hook(norm: nn.LayerNorm, inputs: Any, _: Any) -> torch.Tensor:
        factor, count = gate(), gate.open.sum()
        here = inputs[0] * gate.open
        mean = here.sum(-1, keepdim=True) / count
        centred = (here - mean) * gate.open
        variance = (centred * centred).sum(-1, keepdim=True) / count
        scaled = centred * torch.rsqrt(variance + norm.eps)
        if norm.weight is not None:
            scaled = scaled * norm.weight
        if norm.bias is not None:
            scaled = scaled + norm.bias
        return scaled * factor

    return hook
