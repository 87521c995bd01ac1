"""Texts longer than a model: read window by window."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.spec.bounds import within


@dataclass(frozen=True)
class Windows:
    """A text that is longer than the last length is read in windows of that length, each of which begins with the last
    ``overlap`` tokens of the one before, and ``most`` windows at the most: beyond, it is cut. The mean of their logits
    answers, each window's by its tokens."""

    overlap: int = 0
    most: int = 16

    def __post_init__(self) -> None:
        within(self.overlap, 0, 1 << 16, "overlap")
        within(self.most, 2, 1 << 10, "most")
