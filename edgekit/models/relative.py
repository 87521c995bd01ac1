"""Attention by distance, as Transformer-XL has it (Dai et al. 2019).

The score of query *i* and key *j* is the paper's

    (qᵢ + u)·kⱼ + (qᵢ + v)·(W_R·R_{i-j})        q = W_q·x, k = W_k·x, R the sinusoids of the distance

with u and v of each layer its own. u is the bias of ``query``. v is kept as v - u, the bias of ``position``: what
:class:`Positions` is given has u already. The projections have no other biases.
"""

from __future__ import annotations

from typing import Any

from edgekit.errors import MissingExtra

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtra("torch", "host") from error


class Positions(nn.Module):  # type: ignore[misc]
    """What the distance between two tokens adds to their score. ``weight`` is W_R [heads × size, sinusoids], ``bias``
    v - u [heads × size]; rows go with the rows of query, key and value."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.resize(out_features)

    def resize(self, out_features: int) -> None:
        """Uninitialized weights for so many rows."""
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, self.in_features))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, query: torch.Tensor, length: int) -> torch.Tensor:
        """Of queries (with u) [batch, heads, asking, size], their scores at the distances ``length`` - 1 to 0:
        [batch, heads, asking, length]. Scores of keys come out of them by :func:`shifted`."""
        size = query.shape[-1]
        keys = self.keys(length).unflatten(0, (-1, size))
        return (query + self.bias.unflatten(0, (-1, 1, size))) @ keys

    def keys(self, length: int) -> torch.Tensor:
        """W_R·R of the distances ``length`` - 1 to 0: [heads × size, length]."""
        folded = getattr(self, "folded", None)
        if folded is not None:
            return folded[:, folded.shape[1] - length :]
        return self.weight @ sinusoids(length, self.in_features).to(self.weight).T

    def fold(self, longest: int) -> None:
        """Compute the keys once, for texts of up to ``longest`` tokens; the weights no longer matter."""
        self.register_buffer("folded", self.keys(longest).detach(), persistent=False)


class RelativeAttention(nn.Module):  # type: ignore[misc]
    """Multi-head attention by distance, over the memory and the segment."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.head_size = config.hidden_size // config.num_attention_heads
        width = self.head_size * config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, width)
        self.key = nn.Linear(config.hidden_size, width, bias=False)
        self.value = nn.Linear(config.hidden_size, width, bias=False)
        self.position = Positions(config.position_size, width)
        self.output = nn.Linear(width, config.hidden_size, bias=False)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    @property
    def scaling(self) -> float:
        return float(self.head_size**-0.5)

    def forward(
        self, hidden: torch.Tensor, memory: torch.Tensor | None, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[batch, length, hidden] → the same, and the weights [batch, heads, length, memory + length]."""
        states = hidden if memory is None else torch.cat([memory, hidden], 1)
        query, key, value = (
            one(given).unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for one, given in ((self.query, hidden), (self.key, states), (self.value, states))
        )
        scores = query @ key.transpose(2, 3) + shifted(self.position(query, states.shape[1]))
        weights = torch.softmax(scores * self.scaling + mask, dim=-1)
        mixed = self.dropout(weights) @ value
        return self.output(mixed.transpose(1, 2).flatten(2)), weights


def sinusoids(length: int, size: int) -> torch.Tensor:
    """R of the distances ``length`` - 1 to 0, float32 [length, size]: sines first, then cosines (Vaswani 2017)."""
    distances = torch.arange(length - 1, -1, -1, dtype=torch.float32)
    waves = distances[:, None] / 10000.0 ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    return torch.cat([waves.sin(), waves.cos()], 1)[:, :size]


def shifted(scores: torch.Tensor) -> torch.Tensor:
    """The paper's relative shift (appendix B): scores [batch, heads, asking, length] at the distances ``length`` - 1 to
    0 become those of the keys 0 to ``length`` - 1, of which the asking tokens are the last. What looks ahead is left
    over from other rows, and to be masked."""
    *outer, asking, length = scores.shape
    padded = functional.pad(scores, (1, 0)).reshape(*outer, length + 1, asking)
    return padded[..., 1:, :].reshape(*outer, asking, length)
