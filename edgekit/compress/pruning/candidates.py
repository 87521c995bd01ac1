"""Many random spreads of the same total, each judged after its statistics were adapted; the best one is cut.

EagleEye (Li et al. 2020) draws widths at random, lets batch norm estimate its mean and variance anew on a few training
batches, and only then evaluates: without that, a candidate's accuracy says little about what recovery makes of it.
A transformer has no batch norm. Here each layer norm's gain and bias are set so that, on those batches, each of its
channels has the mean and the variance it had in the uncut model; earlier norms are adapted before later ones are
measured, all in one pass.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from edgekit.compress.encoded import Batch, Encoded, batch
from edgekit.compress.pruning import sensitivity
from edgekit.compress.pruning.widths import Cut, random_spread
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.progress import Report

#: How many texts statistics are estimated on.
TEXTS = 128
_SMALL = 1e-6

#: Mean and standard deviation of each channel, for each norm.
Statistics = dict[int, tuple[torch.Tensor, torch.Tensor]]


def choose(checkpoint: Checkpoint, cut: Cut, data: Encoded, count: int, seed: int, report: Report) -> list[float]:
    """Close the gates of the best of ``count`` candidates, and leave its adapted norms in place.

    The first candidate takes the same from each layer, the others are drawn by ``seed``. Returns the loss of each.
    """
    draw = random.Random(f"candidates:{seed}")
    few = batch(data, random.Random(seed).sample(range(len(data)), min(TEXTS, len(data))))
    usual = statistics(checkpoint.module, few)
    kept = _norm_weights(checkpoint.module)
    scores = cut.score()
    spreads = [[one.removed for one in cut.widths]]
    spreads += [[random_spread(one, draw) for one in cut.widths] for _ in range(count - 1)]
    losses: list[float] = []

    def apply(number: int) -> None:
        _restore(checkpoint.module, kept)
        for one, found, removed in zip(cut.widths, scores, spreads[number], strict=True):
            one.removed = removed
            one.close(found)
        adapt(checkpoint.module, few, usual)

    for number in range(count):
        apply(number)
        losses.append(sensitivity.loss(checkpoint, data))
        report(
            f"candidate {number + 1} of {count}: loss {losses[-1]:.4f}, best {min(losses):.4f}", (number + 1) / count
        )
    apply(losses.index(min(losses)))
    return losses


def statistics(module: Any, few: Batch) -> Statistics:
    """Mean and standard deviation of each layer norm's output on the tokens of ``few``."""
    found: Statistics = {}

    def measure(norm: nn.LayerNorm, output: torch.Tensor) -> torch.Tensor:
        found[id(norm)] = _moments(output, few)
        return output

    _pass(module, few, measure)
    return found


def adapt(module: Any, few: Batch, wanted: Statistics) -> None:
    """Set gain and bias of each layer norm so that its output on ``few`` has the statistics ``wanted``, in place."""

    def change(norm: nn.LayerNorm, output: torch.Tensor) -> torch.Tensor:
        mean, deviation = _moments(output, few)
        usual_mean, usual_deviation = wanted[id(norm)]
        gain = torch.where(deviation > _SMALL, usual_deviation / deviation.clamp_min(_SMALL), 1.0)
        norm.weight.data = norm.weight.data * gain
        norm.bias.data = (norm.bias.data - mean) * gain + usual_mean
        return (output - mean) * gain + usual_mean

    _pass(module, few, change)


def _pass(module: Any, few: Batch, measure: Callable[[nn.LayerNorm, torch.Tensor], torch.Tensor]) -> None:
    """One pass over ``few`` through which each norm's output goes by way of ``measure``, the first time it is used."""
    seen: set[int] = set()

    def hook(norm: nn.LayerNorm, _: Any, output: torch.Tensor) -> torch.Tensor | None:
        if id(norm) in seen:
            return None
        seen.add(id(norm))
        return measure(norm, output)

    hooks = [one.register_forward_hook(hook) for one in _norms(module)]
    module.eval()
    try:
        with torch.no_grad():
            module(few.input_ids, few.attention_mask)
    finally:
        for one in hooks:
            one.remove()


def _moments(output: torch.Tensor, few: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = output[few.attention_mask.bool()]
    return tokens.mean(0), tokens.std(0, correction=0)


def _norms(module: Any) -> list[nn.LayerNorm]:
    return [one for one in module.modules() if isinstance(one, nn.LayerNorm) and one.elementwise_affine]


def _norm_weights(module: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(one.weight.detach().clone(), one.bias.detach().clone()) for one in _norms(module)]


def _restore(module: Any, kept: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for norm, (weight, bias) in zip(_norms(module), kept, strict=True):
        norm.weight.data, norm.bias.data = weight.clone(), bias.clone()
