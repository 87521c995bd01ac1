"""What an activation's values look like: a histogram that one pass over the data fills, and every text's extremes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

#: Bins on each side of zero. The extent is at most twice the largest value seen, so at least 4,096 bins are in use.
BINS = 8192


@dataclass
class Histogram:
    """Counts of values in ``[-extent, extent]``; ``extent`` is a power of two and doubles (bins merge in pairs) when a
    value falls outside, so that one pass over the data is enough and the order of the data changes nothing.

    ``extremes`` holds (number of values, least, greatest) of every array that was added.
    """

    extent: float = 2.0**-20
    counts: np.ndarray = field(default_factory=lambda: np.zeros(2 * BINS, np.int64))
    least: float = np.inf
    greatest: float = -np.inf
    extremes: list[tuple[int, float, float]] = field(default_factory=list)

    def add(self, values: np.ndarray) -> None:
        """Count ``values`` of any shape; none of them may be NaN or infinite."""
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        self.extremes.append((values.size, low, high))
        self.least, self.greatest = min(self.least, low), max(self.greatest, high)
        while max(-self.least, self.greatest) > self.extent:
            self._double()
        places = np.floor((values.ravel().astype(np.float64) / self.extent + 1.0) * BINS).astype(np.int64)
        self.counts += np.bincount(np.minimum(places, 2 * BINS - 1), minlength=2 * BINS)

    @property
    def centres(self) -> np.ndarray:
        """The middle of each bin."""
        middle: np.ndarray = (np.arange(2 * BINS) + 0.5) / BINS * self.extent - self.extent
        return middle

    def _double(self) -> None:
        merged = np.zeros_like(self.counts)
        merged[BINS // 2 : BINS // 2 + BINS] = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = merged
        self.extent *= 2.0
