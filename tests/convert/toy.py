"""A model of a few products whose faults are planted by hand: ids and mask in, logits out, as a classifier."""

from __future__ import annotations

import torch
from torch import nn

from edgekit.spec.task import CLASSIFY


class Toy(nn.Module):  # type: ignore[misc]
    """Embedding → layer norm → two products that read it → ReLU of one → a product → the mean over tokens."""

    def __init__(self, width: int = 32, seed: int = 1) -> None:
        super().__init__()
        self.task = CLASSIFY
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.table = nn.Embedding(64, width)
            self.norm = nn.LayerNorm(width)
            self.first, self.gate = nn.Linear(width, width), nn.Linear(width, width)
            self.last = nn.Linear(width, 5)
        self.eval().requires_grad_(False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.table(input_ids))
        logits: torch.Tensor = self.last(torch.relu(self.first(x)) + torch.tanh(self.gate(x))).mean(1)
        return logits


def ids(count: int = 60, seed: int = 3) -> list[list[int]]:
    """Token ids of texts of 3 to 9 tokens."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 10, (count,), generator=draw).tolist()
    return [torch.randint(0, 64, (length,), generator=draw).tolist() for length in lengths]
