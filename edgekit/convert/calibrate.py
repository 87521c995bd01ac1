"""Ranges of activations for static int8: histograms over calibration texts, then one of three ways to clip them.

``minmax`` keeps every value, and one outlier makes all steps coarse. ``percentile`` cuts a share off each tail.
``mse`` (OCS, Zhao 2019; Banner 2019) takes the clipping whose quantized values are nearest to the true ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgekit.convert import flatbuffer
from edgekit.convert.job import signature_name
from edgekit.convert.tokens import Inputs
from edgekit.spec.progress import Report, quiet
from edgekit.spec.quantize import Calibration

#: Bins on each side of zero. The extent is at most twice the largest value seen, so at least 4,096 bins are in use.
BINS = 8192
LEVELS = 255

#: Least and greatest value that int8 shall reach; zero is always between them.
Range = tuple[float, float]


@dataclass
class Histogram:
    """Counts of values in ``[-extent, extent]``; ``extent`` is a power of two and doubles (bins merge in pairs) when a
    value falls outside, so that one pass over the data is enough and the order of the data changes nothing."""

    extent: float = 2.0**-20
    counts: np.ndarray = field(default_factory=lambda: np.zeros(2 * BINS, np.int64))
    least: float = np.inf
    greatest: float = -np.inf

    def add(self, values: np.ndarray) -> None:
        """Count ``values`` of any shape; none of them may be NaN or infinite."""
        if not values.size:
            return
        self.least = min(self.least, float(values.min()))
        self.greatest = max(self.greatest, float(values.max()))
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


def minmax(histogram: Histogram) -> Range:
    """The extremes, widened to hold zero."""
    return min(histogram.least, 0.0), max(histogram.greatest, 0.0)


def percentile(histogram: Histogram, percent: float) -> Range:
    """The range that leaves ``100 - percent`` % of the values outside on each side, to within a bin."""
    below = np.cumsum(histogram.counts)
    outside = below[-1] * (1.0 - percent / 100.0)
    low = histogram.centres[np.searchsorted(below, outside, side="right")]
    high = histogram.centres[np.searchsorted(below, below[-1] - outside, side="left")]
    least, greatest = minmax(histogram)
    return min(max(float(low), least), 0.0), max(min(float(high), greatest), 0.0)


def mse(histogram: Histogram) -> Range:
    """The range of least squared error: both ends shrunk together first, then each on its own."""
    used = np.flatnonzero(histogram.counts)
    centres, counts = histogram.centres[used], histogram.counts[used]
    least, greatest = minmax(histogram)

    def error(low: float, high: float) -> float:
        return _squared_error(centres, counts, low, high)

    shares = np.geomspace(1.0, 0.01, 120)
    both = min(shares, key=lambda share: error(least * share, greatest * share))
    low, high = least * both, greatest * both
    for _ in range(2):
        around = np.linspace(0.7, 1.3, 25)
        low = max(min((low * one for one in around), key=lambda one: error(one, high)), least)
        high = min(min((high * one for one in around), key=lambda one: error(low, one)), greatest)
    return min(float(low), 0.0), max(float(high), 0.0)


def fidelity(histogram: Histogram, found: Range) -> float:
    """Signal to quantization noise in dB, were the tensor held in int8 over this range; infinite if nothing is lost."""
    noise = _squared_error(histogram.centres, histogram.counts, *found)
    signal = float(histogram.counts @ np.square(histogram.centres))
    return 10.0 * math.log10(signal / noise) if noise > 0.0 and signal > 0.0 else math.inf


def _squared_error(centres: np.ndarray, counts: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / LEVELS
    if step <= 0.0:
        return float(counts @ np.square(centres))
    near = np.clip(np.round((centres - low) / step), 0, LEVELS) * step + low
    return float(counts @ np.square(near - centres))


def find(histogram: Histogram, calibration: Calibration) -> Range:
    """The range by the recipe's method."""
    methods: dict[str, Callable[[], Range]] = {
        "minmax": lambda: minmax(histogram),
        "percentile": lambda: percentile(histogram, calibration.percentile),
        "mse": lambda: mse(histogram),
    }
    return methods[calibration.ranges]()


def collect(
    float_file: Path, texts: Mapping[int, Sequence[Inputs]], operators: Collection[str], report: Report = quiet
) -> dict[str, Histogram]:
    """Run ``texts`` (by length bucket) through a float .tflite, and count what goes in and out of ``operators``.

    Values at padded positions are left out: nothing reads them, and they would only widen the ranges.

    Returns: histograms by tensor name; names are unique over all signatures.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    model = flatbuffer.read(float_file)
    interpreter = Interpreter(
        model_path=str(float_file),
        num_threads=1,
        experimental_preserve_all_tensors=True,
        # a delegate keeps its inner tensors to itself
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    histograms: dict[str, Histogram] = {}
    total, done = sum(len(inputs) for inputs in texts.values()), 0
    for length, inputs in texts.items():
        name = signature_name(length)
        graph = model.subgraph(name)
        wanted = {
            place: graph.tensors[place].name
            for operator in graph.operators
            if operator.kind in operators
            for place in (*operator.inputs, *operator.outputs)
            if graph.tensors[place].dtype == "float32" and not graph.tensors[place].constant
        }
        runner = interpreter.get_signature_runner(name)
        for one in inputs:
            runner(**one)
            real = one["attention_mask"][0] == 1
            for place, tensor in wanted.items():
                values = interpreter.get_tensor(place, graph.index)
                if values.ndim >= 2 and values.shape[-2] == length:
                    values = values[..., real, :]
                histograms.setdefault(tensor, Histogram()).add(values)
            done += 1
            report(f"calibrating on {total} texts", done / total)
    return histograms


def outputs_touching(float_file: Path, operators: Collection[str], tensors: Collection[str]) -> set[str]:
    """Names of the outputs of ``operators`` that read or write one of ``tensors`` (names)."""
    found: set[str] = set()
    for graph in flatbuffer.read(float_file).subgraphs:
        for operator in graph.operators:
            names = {graph.tensors[place].name for place in (*operator.inputs, *operator.outputs)}
            if operator.kind in operators and names & set(tensors):
                found.update(graph.tensors[place].name for place in operator.outputs)
    return found
