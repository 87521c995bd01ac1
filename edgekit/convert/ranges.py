"""Ranges of activations for static int8: six ways to clip a histogram, each a function ``Histogram → Range``.

=============== ==================================================================================================
``minmax``      every value: one outlier makes all steps coarse
``percentile``  a share is cut off each tail
``mse``         the clipping whose quantized values are nearest to the true ones (Banner 2019; OCS, Zhao 2019)
``entropy``     the clipping whose quantized distribution diverges least from the true one (KL; Migacz 2017, TensorRT)
``sigma``       mean ± k standard deviations
``linear``      the extremes of a text, regressed on √(2·ln n): the extremes of n normal values grow like that
=============== ==================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from edgekit.convert.histogram import BINS, Histogram
from edgekit.spec.quantize import Calibration

LEVELS = 255
#: The greatest integer of a grid whose zero point is 0.
SYMMETRIC = 127
#: Quantization levels of one side of zero, for the entropy calibrator.
ONE_SIDE = 128
#: How many thresholds the entropy calibrator tries.
THRESHOLDS = 200

#: Least and greatest value that int8 shall reach; zero is always between them.
Range = tuple[float, float]


def minmax(histogram: Histogram) -> Range:
    """The extremes, widened to hold zero."""
    return min(histogram.least, 0.0), max(histogram.greatest, 0.0)


def percentile(histogram: Histogram, percent: float) -> Range:
    """The range that leaves ``100 - percent`` % of the values outside on each side, to within a bin."""
    below = np.cumsum(histogram.counts)
    outside = below[-1] * (1.0 - percent / 100.0)
    low = histogram.centres[np.searchsorted(below, outside, side="right")]
    high = histogram.centres[np.searchsorted(below, below[-1] - outside, side="left")]
    return _within(histogram, float(low), float(high))


def mse(histogram: Histogram, symmetric: bool = False) -> Range:
    """The range of least squared error: both ends shrunk together first, then each on its own."""
    used = np.flatnonzero(histogram.counts)
    centres, counts = histogram.centres[used], histogram.counts[used]
    least, greatest = minmax(histogram)

    def error(low: float, high: float) -> float:
        return _squared_error(centres, counts, low, high, symmetric)

    shares = np.geomspace(1.0, 0.01, 120)
    both = min(shares, key=lambda share: error(least * share, greatest * share))
    low, high = least * both, greatest * both
    for _ in range(2):
        around = np.linspace(0.7, 1.3, 25)
        low = max(min((low * one for one in around), key=lambda one: error(one, high)), least)
        high = min(min((high * one for one in around), key=lambda one: error(low, one)), greatest)
    return min(float(low), 0.0), max(float(high), 0.0)


def entropy(histogram: Histogram) -> Range:
    """The threshold on |x| of least Kullback-Leibler divergence, on both sides where the values reach so far.

    As Migacz has it: what lies beyond the threshold is counted into its last bin, the bins below are merged into 128
    levels and spread out again over those that were not empty.
    """
    sizes = (histogram.counts[BINS:] + histogram.counts[:BINS][::-1]).astype(np.float64)
    used = int(np.flatnonzero(sizes)[-1]) + 1 if sizes.any() else 0
    if used <= ONE_SIDE:
        return minmax(histogram)
    tried = np.unique(np.geomspace(ONE_SIDE, used, THRESHOLDS).round().astype(int))
    best = min(tried, key=lambda bins: _divergence(sizes[:used], int(bins)))
    threshold = float(best) / BINS * histogram.extent
    return _within(histogram, -threshold, threshold)


def sigma(histogram: Histogram, deviations: float) -> Range:
    """``deviations`` standard deviations to each side of the mean, no further than the extremes."""
    total = histogram.counts.sum()
    mean = float(histogram.counts @ histogram.centres) / total
    spread = math.sqrt(float(histogram.counts @ np.square(histogram.centres - mean)) / total)
    return _within(histogram, mean - deviations * spread, mean + deviations * spread)


def linear(histogram: Histogram, quantile: float) -> Range:
    """Where the extremes of a text as long as the longest will be, in ``quantile`` of all cases.

    Ordinary least squares of each text's extreme on √(2·ln n), n its number of values; to the prediction for the
    largest n comes the ``quantile`` of a normal distribution with the residuals' deviation. An outlier in one text
    hardly moves it. It may reach beyond the extremes that were seen.
    """
    counts, lows, highs = (np.array(one, np.float64) for one in zip(*histogram.extremes, strict=True))
    growth = np.sqrt(2.0 * np.log(np.maximum(counts, 2.0)))
    low = -_predicted(growth, -lows, quantile)
    return min(low, 0.0), max(_predicted(growth, highs, quantile), 0.0)


def find(histogram: Histogram, calibration: Calibration, symmetric: bool = False) -> Range:
    """The range by the recipe's method; ``symmetric``: of a grid whose zero point is 0."""
    methods: dict[str, Callable[[], Range]] = {
        "minmax": lambda: minmax(histogram),
        "percentile": lambda: percentile(histogram, calibration.percentile),
        "mse": lambda: mse(histogram, symmetric),
        "entropy": lambda: entropy(histogram),
        "sigma": lambda: sigma(histogram, calibration.sigmas),
        "linear": lambda: linear(histogram, calibration.quantile),
    }
    return methods[calibration.ranges]()


def fidelity(histogram: Histogram, found: Range, symmetric: bool = False) -> float:
    """Signal to quantization noise in dB, were the tensor held in int8 over this range (``symmetric``: with zero point
    0); infinite if nothing is lost."""
    noise = _squared_error(histogram.centres, histogram.counts, *found, symmetric)
    signal = float(histogram.counts @ np.square(histogram.centres))
    return 10.0 * math.log10(signal / noise) if noise > 0.0 and signal > 0.0 else math.inf


def _within(histogram: Histogram, low: float, high: float) -> Range:
    least, greatest = minmax(histogram)
    return min(max(low, least), 0.0), max(min(high, greatest), 0.0)


def _squared_error(centres: np.ndarray, counts: np.ndarray, low: float, high: float, symmetric: bool = False) -> float:
    # with zero point 0 it reaches as far on the other side, whether there are values or not
    step = max(-low, high) / SYMMETRIC if symmetric else (high - low) / LEVELS
    if step <= 0.0:
        return float(counts @ np.square(centres))
    if symmetric:
        near = np.clip(np.round(centres / step), -SYMMETRIC - 1, SYMMETRIC) * step
        return float(counts @ np.square(near - centres))
    near = np.clip(np.round((centres - low) / step), 0, LEVELS) * step + low
    return float(counts @ np.square(near - centres))


def _divergence(sizes: np.ndarray, bins: int) -> float:
    """KL(P‖Q) of |x| clipped to the first ``bins``; infinite where Q is zero and P is not."""
    kept = sizes[:bins]
    true = kept.copy()
    true[-1] += sizes[bins:].sum()
    starts = np.floor(np.arange(ONE_SIDE) * bins / ONE_SIDE).astype(int)
    filled = kept > 0
    mass, number = np.add.reduceat(kept, starts), np.add.reduceat(filled.astype(np.float64), starts)
    level: np.ndarray = np.repeat(
        np.divide(mass, number, out=np.zeros_like(mass), where=number > 0), np.diff([*starts, bins])
    )
    guess = np.where(filled, level, 0.0)
    present = true > 0
    if not guess.any() or (guess[present] == 0.0).any():
        return math.inf
    p, q = true[present] / true.sum(), guess[present] / guess.sum()
    return float(p @ np.log(p / q))


def _predicted(x: np.ndarray, y: np.ndarray, quantile: float) -> float:
    centred = x - x.mean()
    variance = float(centred @ centred)
    slope = float(centred @ y) / variance if variance > 0.0 else 0.0
    residuals = y - y.mean() - slope * centred
    deviation = math.sqrt(float(residuals @ residuals) / max(len(y) - 2, 1))
    return float(y.mean() + slope * centred.max() + NormalDist().inv_cdf(quantile) * deviation)
