"""Which integer a weight becomes: the nearest one is not always the best (AdaRound, Nagel 2020).

Each function gives the weight [out, in] on the grid of its scales [out] (or [1]): whole multiples, within ±127.
"""

from __future__ import annotations

from edgekit.errors import MissingExtra

try:
    import torch
except ImportError as error:
    raise MissingExtra("torch", "host") from error

STEPS = 200
RATE = 0.1
#: Added to the moment's diagonal, as a share of its mean: fewer tokens than channels would leave directions free.
DAMPING = 0.01
#: AdaRound's stretched sigmoid and the pressure towards 0 and 1, which sets in after a fifth of the steps.
GAMMA, ZETA = -0.1, 1.1
PRESSURE = 0.01
WARM = 0.2
SHARP, BLUNT = 2.0, 20.0


def nearest(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """To the nearest step."""
    return (weight / scale[:, None]).round().clamp(-127, 127) * scale[:, None]


def stochastic(weight: torch.Tensor, scale: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Up with the probability of the remainder, so that the mean over draws is the weight itself (Gupta 2015)."""
    steps = weight / scale[:, None]
    up = torch.rand(steps.shape, generator=generator) < steps - steps.floor()
    return (steps.floor() + up).clamp(-127, 127) * scale[:, None]


def learned(weight: torch.Tensor, scale: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """Up or down, whichever keeps the layer's output on the calibration inputs x: min E‖(W - Ŵ)x‖².

    AdaRound: a soft choice h in [0, 1] a weight is trained by Adam and pushed to 0 or 1. With E[xᵀx] as ``moment``
    [in, in] the error of a step needs no pass over the texts. A row that nearest rounding serves better keeps it.
    """
    moment = moment + DAMPING * moment.diagonal().mean() * torch.eye(len(moment))
    steps = weight / scale[:, None]
    floor, rest = steps.floor(), (steps - steps.floor()).clamp(1e-4, 1 - 1e-4)
    choice = -torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1.0)
    state = torch.optim.Adam([choice.requires_grad_(True)], lr=RATE)
    # every row in units of what nearest rounding costs it: rows of small weights learn as fast as those of large ones
    plain = rest.round() - rest
    size = ((plain @ moment) * plain).sum(1, keepdim=True).clamp_min(1e-12)
    for step in range(STEPS):
        soft = torch.sigmoid(choice)
        h = (soft * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)
        inside = (h > 0.0) & (h < 1.0)
        error = floor + h.detach() - steps
        slope = 2.0 * (error @ moment) / size
        progress = max(0.0, (step / STEPS - WARM) / (1.0 - WARM))
        if progress > 0.0:
            power = SHARP + 0.5 * (BLUNT - SHARP) * (1.0 + float(torch.cos(torch.tensor(progress * torch.pi))))
            away = 2.0 * h.detach() - 1.0
            slope = slope - PRESSURE * 2.0 * power * away.sign() * away.abs() ** (power - 1.0)
        choice.grad = (slope * inside * soft * (1.0 - soft) * (ZETA - GAMMA)).detach()
        state.step()
    hard = floor + (torch.sigmoid(choice.detach()) * (ZETA - GAMMA) + GAMMA >= 0.5)
    chosen, usual = hard.clamp(-127, 127) * scale[:, None], nearest(weight, scale)
    better = loss(weight, chosen, moment) < loss(weight, usual, moment)
    return torch.where(better[:, None], chosen, usual)


def loss(weight: torch.Tensor, rounded: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """E‖(W - Ŵ)x‖² of every row [out]."""
    difference = (weight - rounded).double()
    return ((difference @ moment.double()) * difference).sum(1)
