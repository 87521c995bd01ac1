"""Ranges to start quantization-aware training from: one pass over texts for extremes, one for histograms between them.

The clipping is the one that loses the least squared error (Banner 2019). Products that read one tensor share its range,
for in the file it is one tensor with one scale; so does a product that reads another one's result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from edgekit.compress.encoded import Batch, Encoded, batch
from edgekit.compress.fakequant import LEAST, MOST, affine

BINS = 4096
SIZE = 32
#: One end of a product: its module's dotted name, and ``input`` or ``output``.
End = tuple[str, str]
Watch = Callable[[End, torch.Tensor], None]


@dataclass(frozen=True)
class Observation:
    """A tensor's range, the signal to noise ratio of int8 over it in dB, and all ends of products that it is."""

    low: float
    high: float
    fidelity: float
    ends: tuple[End, ...]


def observe(
    module: Any, data: Encoded, products: Mapping[str, nn.Linear], tokens: Mapping[str, slice]
) -> list[Observation]:
    """Ranges of what those of ``products`` that take part read and give on ``data``.

    Args:
        products: parts of ``module`` by name.
        tokens: for some of them, the only tokens that count.
    """
    batches = [batch(data, rows) for rows in _unpadded(data)]
    run = partial(_run, module, products)
    tensors = _shared(run, batches[:1], tokens)
    place = {end: number for number, ends in enumerate(tensors) for end in ends}
    extremes = [(0.0, 0.0)] * len(tensors)

    def widen(end: End, value: torch.Tensor) -> None:
        low, high = extremes[place[end]]
        value = _counted(value, tokens.get(end[0]))
        extremes[place[end]] = min(low, value.min().item()), max(high, value.max().item())

    run(batches, widen)
    counts = [torch.zeros(BINS) for _ in tensors]

    def count(end: End, value: torch.Tensor) -> None:
        # a tensor is counted once, however many read it
        if end == tensors[place[end]][0]:
            low, high = extremes[place[end]]
            counts[place[end]] += torch.histc(_counted(value, tokens.get(end[0])), BINS, low, high)

    run(batches, count)
    return [
        Observation(*_least_error(one, *extreme), tuple(ends))
        for one, extreme, ends in zip(counts, extremes, tensors, strict=True)
    ]


def _unpadded(data: Encoded) -> list[list[int]]:
    """Batches of texts of one length: what stands at padded positions is nobody's business."""
    lengths: dict[int, list[int]] = {}
    for row, ids in enumerate(data.ids):
        lengths.setdefault(len(ids), []).append(row)
    return [rows[start : start + SIZE] for _, rows in sorted(lengths.items()) for start in range(0, len(rows), SIZE)]


def _counted(value: torch.Tensor, tokens: slice | None) -> torch.Tensor:
    """The ``tokens`` of [batch, length, width]; a tensor of single tokens [batch, width] is them already."""
    return value[:, tokens] if tokens is not None and value.dim() == 3 else value


def _run(module: Any, products: Mapping[str, nn.Linear], batches: list[Batch], watch: Watch) -> None:
    """Ask the module, in evaluation mode, while every product shows what it reads and gives."""
    hooks, training = (
        [one.register_forward_hook(_shown(name, watch)) for name, one in products.items()],
        module.training,
    )
    module.eval()
    try:
        with torch.inference_mode():
            for one in batches:
                module(one.input_ids, one.attention_mask)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()


def _shown(name: str, watch: Watch) -> Callable[[Any, Any, torch.Tensor], None]:
    def hook(_: Any, inputs: Any, output: torch.Tensor) -> None:
        watch((name, "input"), inputs[0])
        watch((name, "output"), output)

    return hook


def _shared(
    run: Callable[[list[Batch], Watch], None], first: list[Batch], tokens: Mapping[str, slice]
) -> list[list[End]]:
    """The ends that are one tensor, in the order they are met; some of its tokens are a tensor of their own."""
    groups: dict[End, list[End]] = {}
    # kept, so that no two tensors have one identity
    met: dict[tuple[int, bool], tuple[torch.Tensor, End]] = {}

    def meet(end: End, value: torch.Tensor) -> None:
        mine = groups.setdefault(end, [end])
        theirs = groups[met.setdefault((id(value), end[0] in tokens), (value, end))[1]]
        if theirs is not mine:
            theirs.extend(mine)
            groups.update(dict.fromkeys(mine, theirs))

    run(first, meet)
    return list({id(ends): ends for ends in groups.values()}.values())


def _least_error(counts: torch.Tensor, low: float, high: float) -> tuple[float, float, float]:
    """Range and fidelity: both ends shrunk together first, then each on its own."""
    if low == high:
        return -1e-6, 1e-6, math.inf
    width = (high - low) / BINS
    centres = low + width * (torch.arange(BINS) + 0.5)
    used = counts > 0
    centres, counts = centres[used], counts[used]
    shares = torch.linspace(1.0, 0.05, 96)
    both = shares[_errors(centres, counts, low * shares, high * shares).argmin()]
    left = low * shares[_errors(centres, counts, low * shares, high * both).argmin()]
    right = high * shares[_errors(centres, counts, left, high * shares).argmin()]
    noise = _errors(centres, counts, left, right).sum()
    signal = (centres.square() * counts).sum()
    decibels = 10.0 * math.log10(float(signal / noise)) if noise > 0 and signal > 0 else math.inf
    return left.item(), right.item(), decibels


def _errors(centres: torch.Tensor, counts: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Summed squared errors [candidates] of int8 over each of the ranges."""
    scale, zero = (one.unsqueeze(-1) for one in affine(low, high))
    near = (torch.round(centres / scale) + zero).clamp(LEAST, MOST) - zero
    return ((near * scale - centres).square() * counts).sum(-1)
