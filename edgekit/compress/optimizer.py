"""AdamW (Loshchilov & Hutter 2019): what it decays, and how fast it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edgekit.spec.training import Training


def rate(step: int, steps: int, warmup: float) -> float:
    """The share of the learning rate at ``step`` of ``steps``: up linearly for ``warmup`` of them, then down to 0."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return (steps - step) / max(1.0, steps - rising)


def adamw(module: Any, parameters: Sequence[nn.Parameter], plan: Training) -> torch.optim.AdamW:
    """The optimizer of those ``parameters`` (of ``module`` and of what helps it) that are trained.

    Biases, norms and embeddings are not decayed: a token that no text uses keeps its embedding exactly.
    """
    tables = [part for part in module.modules() if isinstance(part, nn.Embedding)]
    plain = {one for part in tables for one in part.parameters()}
    trained = [one for one in parameters if one.requires_grad]
    decayed = [one for one in trained if one.dim() > 1 and one not in plain]
    rest = [one for one in trained if one.dim() < 2 or one in plain]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    first, second = plan.betas
    return torch.optim.AdamW(
        [one for one in groups if one["params"]], lr=plan.learning_rate, betas=(first, second), fused=True
    )
