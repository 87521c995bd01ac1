"""The runtime's integer arithmetic as modules with gradients.

Every number that the integer kernels hold is held here as well, as a float32 that happens to be whole: sums of products
stay below 2²⁴, so they are exact. The arithmetic is XNNPACK's, which LiteRT runs by default: ``x · (1/s)`` rounded half
to even, int32 sums, one float32 multiplication by ``s_in·s_w / s_out``, rounded again. (LiteRT's own kernels multiply
in fixed point and round twice, which is a step off in one result out of a thousand.)

Gradients are straight-through (Bengio 2013; Jacob 2018): rounding has gradient 1, what is clipped has 0.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

LEAST, MOST = -128.0, 127.0
#: In steps. Dividing by a scale may lift the largest weight a last bit beyond its greatest integer: it is not clipped.
SLACK = 1e-4


def affine(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point of int8 over ``[low, high]``, in the quantizer's own float32 arithmetic."""
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = (high - low).clamp(min=1e-9) / (MOST - LEAST)
    return scale, torch.round(LEAST - low / scale)


def symmetric(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """The scale of each row [rows, 1] of symmetric weights: the largest magnitude is the greatest integer."""
    return weight.detach().abs().amax(-1, keepdim=True).clamp(min=1e-9) / greatest(bits)


def greatest(bits: int) -> float:
    """The greatest integer of a symmetric weight; the least is its negative."""
    return 2.0 ** (bits - 1) - 1.0


class _Whole(torch.autograd.Function):  # type: ignore[misc]
    """Round and clip to ``[least, most]``; the gradient passes where nothing was clipped."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, least: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward((value >= least - SLACK) & (value <= most + SLACK))
        return torch.clamp(torch.round(value), least, most)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient * ctx.saved_tensors[0], None, None


class _Scaled(torch.autograd.Function):  # type: ignore[misc]
    """The value as it is, its gradient times ``factor``."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * ctx.factor, None


def lsq_factor(features: int, bits: int) -> float:
    """What a step's gradient is multiplied with, ``1 / √(N·Q_P)`` (Esser 2020, 2.2), so that it is as large, beside its
    step, as a weight's beside its weight."""
    return 1.0 / math.sqrt(features * greatest(bits))


class Observed(nn.Module):  # type: ignore[misc]
    """A tensor's int8 grid over the range that calibration found. ``low`` ≤ 0 ≤ ``high``."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32))
        self.register_buffer("high", torch.tensor(high, dtype=torch.float32))

    def range(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Least and greatest value as they are now, with the gradients of what is learned."""
        return self.low, self.high

    def step(self, features: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and zero point; ``features`` is the tensor's width."""
        scale, zero = affine(*self.range())
        return scale.detach(), zero.detach()

    def integers(self, value: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        """``value``, in steps from zero, as the nearest integers that int8 has: between -128 - zero and 127 - zero."""
        whole: torch.Tensor = _Whole.apply(value, LEAST - zero, MOST - zero)
        return whole


class Lsq(Observed):
    """Learned step size (Esser 2020): ``x̂ = s·clip(round(x/s), −128−z, 127−z)``, and the gradient of ``s`` follows from
    that. The zero point stays where calibration put it. The step is learned as the logarithm of its ratio to the
    calibrated one: it stays positive, and one learning rate fits all sizes."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(low, high)
        scale, zero = affine(self.low, self.high)
        self.register_buffer("scale", scale)
        self.register_buffer("zero", zero)
        self.ratio = nn.Parameter(torch.zeros(()))

    def range(self) -> tuple[torch.Tensor, torch.Tensor]:
        scale = self.scale * self.ratio.exp()
        return (LEAST - self.zero) * scale, (MOST - self.zero) * scale

    def step(self, features: int) -> tuple[torch.Tensor, torch.Tensor]:
        learned = _Scaled.apply(self.scale * self.ratio.exp(), lsq_factor(features, 8))
        scale, _ = affine(*(one.detach() for one in self.range()))
        # the quantizer's own value, to the last bit, with the learned one's gradient
        return learned + (scale - learned).detach(), self.zero


class Pact(Observed):
    """Learned clipping (Choi 2018), on both sides: a threshold's gradient is the sum of those of all values beyond it.
    Both are learned as logarithms of their ratio to the calibrated ones; one at 0, as after ReLU, stays there."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(low, high)
        self.ratios = nn.Parameter(torch.zeros(2))

    def range(self) -> tuple[torch.Tensor, torch.Tensor]:
        below, above = self.ratios.exp()
        return self.low * below, self.high * above

    def integers(self, value: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        low, high = self.range()
        scale, _ = affine(low.detach(), high.detach())
        whole = super().integers(value, zero)
        below, above = value < LEAST - zero - SLACK, value > MOST - zero + SLACK
        # nothing is added, but the thresholds' gradients
        beyond = below * (low - low.detach()) + above * (high - high.detach())
        return whole + beyond / scale

    def penalty(self) -> torch.Tensor:
        """The squared thresholds, which PACT's L2 regularization keeps small."""
        low, high = self.range()
        return low.square() + high.square()


class Product(nn.Linear):  # type: ignore[misc]
    """An ``nn.Linear`` that computes with whole weights; it shares the parameters of the one it stands in for.

    Args:
        learned: learn each row's step (LSQ) below the runtime's own, which is the largest magnitude's. ``start`` [out,
            1] is where it starts from, ``ratio`` [out] the logarithm of how far it went.
    """

    def __init__(self, replaced: nn.Linear, bits: int, learned: bool) -> None:
        super().__init__(replaced.in_features, replaced.out_features, replaced.bias is not None, device="meta")
        self.weight, self.bias, self.bits = replaced.weight, replaced.bias, bits
        if learned:
            self.register_buffer("start", least_error(self.weight.detach(), bits))
            self.ratio = nn.Parameter(torch.zeros(replaced.out_features))

    def weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole weights [out, in] and the scale of each row [out]."""
        most = torch.tensor(greatest(self.bits))
        scale = symmetric(self.weight, self.bits)
        if hasattr(self, "ratio"):
            learned = _Scaled.apply(
                self.start * self.ratio.exp().unsqueeze(-1), lsq_factor(self.in_features, self.bits)
            )
            # a file's grid reaches as far as its largest weight, and no further
            scale = torch.minimum(learned, scale)
        whole: torch.Tensor = _Whole.apply(self.weight / scale, -most, most)
        return whole, scale.squeeze(-1)

    def plain(self) -> nn.Linear:
        """An ``nn.Linear`` with this one's parameters."""
        made = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        made.weight, made.bias = self.weight, self.bias
        return made

    def gridded(self) -> torch.Tensor:
        """The weights [out, in] as a file has them."""
        whole, scale = self.weights()
        return whole * scale.unsqueeze(-1)

    def bake(self) -> None:
        """Move the weights onto their grid, in place: what is stored is what was computed with."""
        with torch.no_grad():
            self.weight.copy_(self.gridded())


class StaticProduct(Product):
    """int8 in, int32 sums and bias, int8 out, as floats on the grids ``input`` and ``output``."""

    def __init__(self, replaced: nn.Linear, bits: int, learned: bool, input: Observed, output: Observed) -> None:
        super().__init__(replaced, bits, learned)
        self.input, self.output = input, output

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        read, zero_in = self.input.step(self.in_features)
        written, zero_out = self.output.step(self.out_features)
        whole, scale = self.weights()
        unit = read * scale
        bias = None if self.bias is None else _whole_bias(self.bias, unit)
        sums = linear(self.input.integers(input * (1.0 / read), zero_in), whole, bias)
        result: torch.Tensor = self.output.integers(sums * (unit / written), zero_out) * written
        return result


class DynamicProduct(Product):
    """Each row of the input (one token) in int8 over its own range, as XNNPACK does at each call; out comes float32."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        whole, scale = self.weights()
        inverse, zero = _row_grid(input.detach())
        steps = _Whole.apply(input * inverse, LEAST - zero, MOST - zero)
        result: torch.Tensor = linear(steps, whole) * (1.0 / inverse) * scale
        return result if self.bias is None else result + self.bias


class Regrouped(Product):
    """The last layer's key or value in a dynamic file, which computes them in another grouping (``convert.module``):
    the weights are on that grouping's grid; the activations, whose rows the file quantizes elsewhere, are float.

    Args:
        size: so many rows share a scale in each column (a head's part of a transposed matrix); 0: a row has one.
    """

    def __init__(self, replaced: nn.Linear, bits: int, size: int) -> None:
        super().__init__(replaced, bits, learned=False)
        self.size = size

    def gridded(self) -> torch.Tensor:
        if not self.size:
            return super().gridded()
        columns = self.weight.unflatten(0, (-1, self.size)).transpose(1, 2)
        return rows(columns, self.bits).transpose(1, 2).flatten(0, 1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = linear(input, self.gridded(), self.bias)
        return result


def _whole_bias(bias: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """The bias as int32 in units of the sums [out]."""
    whole: torch.Tensor = _Whole.apply(bias / unit, torch.tensor(-(2.0**31)), torch.tensor(2.0**31))
    return whole


def _row_grid(input: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """1/scale and zero point of each row (xnn_qd8_asymmetric_quantization_params): the zero point is rounded from the
    end of the range that is nearer to it."""
    low, high = input.amin(-1, keepdim=True).clamp(max=0.0), input.amax(-1, keepdim=True).clamp(min=0.0)
    scale = (high - low) / (MOST - LEAST)
    inverse = 1.0 / torch.where(scale == 0, torch.ones_like(scale), scale)
    left, right = low * inverse, high * inverse
    zero = torch.where((LEAST + left) + (MOST + right) > 0, LEAST - left, MOST - right)
    return inverse, torch.round(zero.clamp(LEAST, MOST))


def rows(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Rows [..., width] of a table as a file gives them: symmetric, one scale a row. The gradient passes."""
    most = torch.tensor(greatest(bits))
    scale = symmetric(values, bits)
    result: torch.Tensor = _Whole.apply(values / scale, -most, most) * scale
    return result


def least_error(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """The scale of each row [rows, 1] that loses the least squared error, clipping what is beyond it."""
    full = symmetric(weight, bits)
    most = greatest(bits)
    best, scale = torch.full_like(full, math.inf), full
    for share in torch.linspace(1.0, 0.3, 36).tolist():
        tried = full * share
        error = ((weight / tried).round().clamp(-most, most) * tried - weight).square().sum(-1, keepdim=True)
        scale, best = torch.where(error < best, tried, scale), torch.minimum(error, best)
    return scale
