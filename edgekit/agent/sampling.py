"""Which token comes next: the likeliest one, or one drawn."""

from __future__ import annotations

import random
from typing import Optional

from edgekit.agent.runtimes import Generating


class Sampler:
    """Greedy at temperature 0. Else logits are divided by ``temperature``, the ``top_k`` likeliest tokens stay, of
    those the fewest whose probabilities together reach ``top_p`` (nucleus sampling, Holtzman et al. 2020), and one is
    drawn; the same ``seed`` draws the same tokens. This is transformers' order of the three."""

    def __init__(self, temperature: float, top_k: Optional[int], top_p: float, seed: int) -> None:
        self._temperature = temperature
        self._top_k = top_k
        self._top_p = top_p
        self._random = random.Random(seed)

    def __call__(self, model: Generating) -> int:
        """What follows what ``model`` has read. Raises DeviceError where it answers no number."""
        if self._temperature == 0.0:
            return model.likeliest(1)[0][0]
        return model.drawn(self._temperature, self._top_k, self._top_p, self._random.random())
