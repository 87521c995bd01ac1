"""Integer arithmetic imitated in float, one product at a time: what quantizing it would do to everything after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from edgekit.convert.graph import linears
from edgekit.convert.module import Classifier
from edgekit.convert.quantize import Plan, Precision
from edgekit.convert.ranges import Range
from edgekit.errors import MissingExtra
from edgekit.spec.scheme import WEIGHT_BITS

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtra("torch", "host") from error


def scales(weight: torch.Tensor, granularity: str) -> torch.Tensor:
    """The quantizer's own scales of an int8 weight [out, in]: [out], or [1] for the whole tensor."""
    sizes = weight.abs().amax(1) if granularity == "channel" else weight.abs().amax().reshape(1)
    return sizes.clamp_min(1e-9) / 127.0


def snapped_weight(weight: torch.Tensor, plan: Plan, scale: torch.Tensor | None = None) -> torch.Tensor:
    """``weight`` [out, in] on the grid that the plan's scheme gives it, or on that of ``scale`` [out] (or [1]) in int8;
    as float."""
    if scale is not None:
        return (weight / scale[:, None]).round().clamp(-127, 127) * scale[:, None]
    asked, bits = plan.quantization, WEIGHT_BITS[plan.scheme]
    if bits == 4 and asked.block is not None and weight.shape[1] > asked.block:
        blocks = weight.unflatten(1, (-1, asked.block))
        # a block's scale is stored with as many digits as bfloat16 has
        step = (blocks.abs().amax(-1, keepdim=True).clamp_min(1e-9) / 7).to(torch.bfloat16).float()
        return ((blocks / step).round().clamp(-8, 7) * step).flatten(1)
    most = 2 ** (bits - 1) - 1
    step = scales(weight, asked.weights)[:, None] * (127 / most)
    return (weight / step).round().clamp(-most, most) * step


def snapped(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor, symmetric: bool = False) -> torch.Tensor:
    """``x`` on the int8 grid from ``low`` to ``high`` (zero between them; they broadcast against x), as float."""
    if symmetric:
        scale = torch.maximum(-low, high).clamp_min(1e-9) / 127.0
        return (x / scale).round().clamp(-128, 127) * scale
    scale = (high - low).clamp_min(1e-9) / 255.0
    zero = (-128.0 - low / scale).round()
    return ((x / scale).round() + zero).clamp(-128, 127).sub(zero) * scale


def product(linear: nn.Linear, x: torch.Tensor, name: str, precision: Precision, plan: Plan) -> torch.Tensor:
    """What the ``nn.Linear`` called ``name`` gives for ``x`` [..., in], computed in ``precision``."""
    if precision in ("float", "half"):
        return nn.functional.linear(x, linear.weight, linear.bias)
    scale = torch.from_numpy(plan.scales[name]) if name in plan.scales else None
    weight = snapped_weight(linear.weight, plan, scale)
    symmetric = plan.quantization.activations == "symmetric"
    if precision == "static":
        x = snapped(x, *_bounds(plan.inputs[name]), symmetric)
    elif precision == "dynamic":
        # the kernels take a range of its own for every token
        x = snapped(x, x.amin(-1, keepdim=True).clamp_max(0.0), x.amax(-1, keepdim=True).clamp_min(0.0))
    result = nn.functional.linear(x, weight, linear.bias)
    if precision == "static" and plan.integer_results:
        return snapped(result, *_bounds(plan.outputs[name]), symmetric)
    return result


@contextmanager
def faked(classifier: Classifier, precisions: Mapping[str, Precision], plan: Plan) -> Iterator[None]:
    """Let the products named in ``precisions`` compute in these; the others stay float32."""
    chosen = {name: one for name, one in linears(classifier).items() if name in precisions}
    for name, one in chosen.items():
        one.forward = lambda x, name=name, one=one: product(one, x, name, precisions[name], plan)
    try:
        yield
    finally:
        for one in chosen.values():
            del one.forward


def _bounds(found: Range) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(found[0]), torch.tensor(found[1])
