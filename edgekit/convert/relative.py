"""What the distance between two tokens adds to their score (Transformer-XL), in the exported graph.

Keys of distances depend on weights alone: they are constants, and a score of theirs costs one small product.
"""

from __future__ import annotations

from typing import Any

from edgekit.errors import MissingExtra
from edgekit.models.relative import shifted

try:
    import torch
except ImportError as error:
    raise MissingExtra(error.name or "torch", "host") from error


def placed(position: Any, scores: torch.Tensor, asked: torch.Tensor, mask: torch.Tensor, masked: float) -> torch.Tensor:
    """Scores, not yet scaled, with what ``position`` knows added; as they are where a family has none.

    Args:
        position: of a family's :class:`~edgekit.models.families.Attention`.
        scores: [batch, heads, asking, length].
        asked: queries [batch, heads, asking, size] of all tokens, or of the last real one alone. Of that one, both come
            without the dimension ``asking`` as well.
        mask: [batch, 1, 1 or asking, length], ``masked`` where a key is not seen.
    """
    if position is None:
        return scores
    if asked.dim() == 3:
        return placed(position, scores[:, :, None], asked[:, :, None], mask, masked)[:, :, 0]
    length = scores.shape[-1]
    found: torch.Tensor = position(asked, length)
    if asked.shape[2] == length:
        return scores + shifted(found)
    # the last real token is not the last: what is at a distance of it stands so many places further left
    padding = (mask / masked).sum(-1, keepdim=True)
    places = torch.arange(length, dtype=torch.float32)
    moves = (places[:, None] - places == padding).to(torch.float32)
    return scores + found @ moves


def fold(position: Any, longest: int) -> None:
    """Let ``position``, where there is one, hold the keys of distances for texts of up to ``longest`` tokens."""
    if position is not None:
        position.fold(longest)
