"""The exponential mean of a module's weights while it trains (after Polyak & Juditsky 1992): steadier than they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


class Average:
    """Follows the parameters of ``module``; ``decay`` is how much of the mean stays at each step, 0 follows nothing.

    In the first steps less of it stays, so that where the weights started from is soon forgotten.
    """

    def __init__(self, module: Any, decay: float) -> None:
        self.module, self.decay = module, decay
        self.means = {name: one.detach().clone() for name, one in module.named_parameters()} if decay else {}

    def follow(self, step: int) -> None:
        """Move on to the weights as they are after ``step``, from 0."""
        stays = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, one in self._followed():
                self.means[name].lerp_(one, 1 - stays)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the module computes with the mean."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The mean, by the parameters' names."""
        return self.means

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a mean of the same parameters."""
        for name, mean in self.means.items():
            mean.copy_(state[name])

    def _swap(self) -> None:
        for name, one in self._followed():
            one.data, self.means[name] = self.means[name], one.data

    def _followed(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [one for one in self.module.named_parameters() if one[0] in self.means]
