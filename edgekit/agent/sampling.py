"""Which token comes next, of logits: the likeliest one, or one drawn."""

from __future__ import annotations

import random
from typing import Optional, Sequence

from edgekit.agent.pipeline import softmax


class Sampler:
    """Greedy at temperature 0. Else logits are divided by ``temperature``, the ``top_k`` likeliest tokens stay, of
    those the fewest whose probabilities together reach ``top_p`` (nucleus sampling, Holtzman et al. 2020), and one is
    drawn; the same ``seed`` draws the same tokens. This is transformers' order of the three."""

    def __init__(self, temperature: float, top_k: Optional[int], top_p: float, seed: int) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._random = random.Random(seed)
        #: How many of the likeliest tokens it needs to be told; ``None`` for all.
        self.count = 1 if temperature == 0.0 else top_k

    def __call__(self, tokens: Sequence[int], logits: Sequence[float]) -> int:
        """One of ``tokens``, whose ``logits`` fall."""
        if len(tokens) == 1:
            return tokens[0]
        probabilities = softmax(logits, self._temperature)
        kept, total = 0, 0.0
        while kept < len(probabilities) and (kept == 0 or total < self._top_p):
            total += probabilities[kept]
            kept += 1
        left = self._random.random() * total
        for token, probability in zip(tokens[:kept], probabilities):
            left -= probability
            if left < 0.0:
                return token
        return tokens[kept - 1]
