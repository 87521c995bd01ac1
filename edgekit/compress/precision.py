"""What a training's products are computed in.

Under float32 it is automatic mixed precision (Micikevicius 2018): products in 16 bits, weights, sums and optimizer in
32.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from edgekit.errors import BuildError
from edgekit.spec.training import Precision

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def check(precision: Precision, device: torch.device) -> None:
    """Raise BuildError where ``device`` cannot train in it."""
    if precision == "float16" and device.type == "cpu":
        raise BuildError(
            "a CPU does not train in float16",
            where="$.compress precision",
            given="float16, and no GPU (or no accelerate to use it)",
            allowed="float32, bfloat16",
            remedy="precision: bfloat16",
        )


def cast(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Within, products are computed so."""
    if precision == "float32":
        return contextlib.nullcontext()
    within: contextlib.AbstractContextManager[Any] = torch.autocast(device.type, dtype=DTYPES[precision])
    return within


def scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Of gradients, which float16 would lose where they are small; it leaves those of other precisions alone."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
