from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

pytest.importorskip("ai_edge_quantizer")

from edgekit.convert.histogram import Histogram  # noqa: E402
from edgekit.convert.ranges import entropy, fidelity, find, linear, minmax, mse, percentile, sigma  # noqa: E402
from edgekit.spec.quantize import Calibration  # noqa: E402

pytestmark = pytest.mark.torch


def histogram(*batches: np.ndarray) -> Histogram:
    counted = Histogram()
    for one in batches:
        counted.add(one)
    return counted


def normal(count: int = 100_000) -> np.ndarray:
    return np.random.default_rng(4).standard_normal(count).astype(np.float32)


def planted() -> np.ndarray:
    """A bell curve within ±5, and one value of 300 among 100,000."""
    values = normal()
    values[777] = 300.0
    return values


def error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    return float(np.mean((np.clip(np.round((values - low) / step), 0, 255) * step + low - values) ** 2))


def test_minmax_keeps_the_outlier() -> None:
    low, high = minmax(histogram(planted()))
    assert high == 300.0
    assert low == pytest.approx(planted().min())


def test_percentile_drops_the_outlier() -> None:
    low, high = percentile(histogram(planted()), 99.9)
    # the exact ones, to within two bins of an extent of 512
    assert low == pytest.approx(np.percentile(planted(), 0.1), abs=2 * 512 / 8192)
    assert high == pytest.approx(np.percentile(planted(), 99.9), abs=2 * 512 / 8192)


def test_percentile_100_is_minmax_to_within_a_bin() -> None:
    assert percentile(histogram(normal()), 100.0) == pytest.approx(minmax(histogram(normal())), abs=2 * 8 / 8192)


def test_mse_clips_an_outlier_when_that_loses_less() -> None:
    values = normal(1_000_000)
    values[777] = 30.0
    low, high = mse(histogram(values))
    # clipped to 10 it loses 4e-4 a value by the outlier and 3e-4 by its steps; kept, the steps alone lose 1.6e-3
    assert high < 15.0
    assert error(values, low, high) < error(values, values.min(), values.max()) / 2


def test_mse_keeps_an_outlier_when_clipping_would_lose_more() -> None:
    # clipping 300 costs 300² / 100,000 = 0.9 a value, the coarse step of 1.2 only 0.12
    assert mse(histogram(planted()))[1] > 250.0


def test_mse_is_never_worse_than_minmax_and_near_the_best_of_a_fine_grid() -> None:
    values = normal() * np.where(np.arange(100_000) % 50 == 0, 6.0, 1.0).astype(np.float32) + 0.7
    low, high = mse(histogram(values))
    grid = min(
        error(values, values.min() * a, values.max() * b)
        for a in np.linspace(0.1, 1, 40)
        for b in np.linspace(0.1, 1, 40)
    )
    assert error(values, low, high) <= 1.05 * grid
    assert error(values, low, high) <= error(values, values.min(), values.max())


def test_entropy_drops_the_outlier_and_keeps_the_bulk() -> None:
    values = normal()
    values[777] = 60.0
    low, high = entropy(histogram(values))
    assert 3.0 < high < 15.0
    assert -15.0 < low < -3.0


def long_tailed() -> np.ndarray:
    """Nearly all within ±1; one value in 500 out to ±20."""
    draw = np.random.default_rng(8)
    return np.where(draw.random(200_000) < 0.002, draw.uniform(-20, 20, 200_000), draw.normal(0, 0.3, 200_000)).astype(
        np.float32
    )


def test_entropy_serves_the_bulk_of_a_long_tail_better_than_minmax() -> None:
    counted = histogram(long_tailed())
    bulk = long_tailed()[np.abs(long_tailed()) < 1]
    assert error(bulk, *entropy(counted)) < error(bulk, *minmax(counted)) / 2


def test_entropy_agrees_with_onnx_runtimes_calibrator() -> None:
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
    values = long_tailed()
    theirs = calibrate.HistogramCollector("entropy", False, 2048, 128, 99.99, "same")
    theirs.collect({"x": [values]})
    low, high = (float(one) for one in theirs.compute_collection_result()["x"][:2])
    # theirs has 64 levels a side and coarser bins, ours 128 as TensorRT has it: it reaches further, both clip the tail
    found = entropy(histogram(values))
    assert high <= found[1] < 2 * high < 20.0
    assert found[0] == pytest.approx(-found[1], rel=0.01)
    assert low == pytest.approx(-high, rel=0.01)


def test_sigma_is_the_mean_and_k_deviations() -> None:
    values = normal() * 2 + 1
    assert sigma(histogram(values), 3.0) == pytest.approx((1 - 6, 1 + 6), abs=0.06)


def test_sigma_goes_no_further_than_the_extremes() -> None:
    values = normal()
    assert sigma(histogram(values), 50.0) == minmax(histogram(values))


def test_one_outlier_among_many_moves_sigma_little() -> None:
    values = normal()
    values[777] = 60.0
    assert sigma(histogram(values), 6.0)[1] == pytest.approx(6.0, abs=0.5)


def texts(count: int = 200) -> list[np.ndarray]:
    draw = np.random.default_rng(6)
    return [draw.standard_normal(int(draw.integers(200, 20_000))).astype(np.float32) for _ in range(count)]


def test_linear_predicts_the_extremes_of_long_texts() -> None:
    long = [np.random.default_rng(100 + n).standard_normal(20_000).max() for n in range(200)]
    low, high = linear(histogram(*texts()), 0.99)
    assert np.mean(np.array(long) <= high) == pytest.approx(0.98, abs=0.03)
    assert low == pytest.approx(-high, rel=0.1)


def test_linear_is_hardly_moved_by_an_outlier_in_one_text() -> None:
    planted_texts = texts()
    planted_texts[5][3] = 40.0
    assert linear(histogram(*planted_texts), 0.99)[1] < 15.0
    assert minmax(histogram(*planted_texts))[1] == 40.0


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "mse", "entropy", "sigma", "linear"])
def test_a_range_always_holds_zero(ranges: str) -> None:
    calibration = Calibration(ranges=ranges)
    assert find(histogram(np.full(100, 3.0, np.float32)), calibration) == pytest.approx((0.0, 3.0), rel=0.01)
    assert find(histogram(np.full(100, -3.0, np.float32)), calibration) == pytest.approx((-3.0, 0.0), rel=0.01)


def test_all_zeros_give_an_empty_range_and_lose_nothing() -> None:
    zeros = histogram(np.zeros(10, np.float32))
    assert mse(zeros) == minmax(zeros) == (0.0, 0.0)


def test_fidelity_sees_the_channel_that_drowns_the_rest() -> None:
    even, drowned = normal(), normal()
    drowned[:1000] *= 300
    assert fidelity(histogram(even), minmax(histogram(even))) > 35
    small = histogram(drowned)
    # most of the signal is the loud channel's own: still far below an even tensor
    assert fidelity(small, minmax(small)) < fidelity(histogram(even), minmax(histogram(even))) - 5


def symmetric_error(values: np.ndarray, low: float, high: float) -> float:
    step = max(-low, high) / 127
    return float(np.mean((np.clip(np.round(values / step), -128, 127) * step - values) ** 2))


def test_without_a_zero_point_one_sided_values_lose_a_bit_and_fidelity_says_so() -> None:
    """After a ReLU half of a symmetric grid stands empty: steps twice as wide, 6 dB."""
    values = np.maximum(normal(), 0.0)
    counted = histogram(values)
    lost = fidelity(counted, minmax(counted)) - fidelity(counted, minmax(counted), symmetric=True)
    assert lost == pytest.approx(6.0, abs=0.3)
    signal = float(np.mean(np.square(values)))
    true = 10 * np.log10(signal / symmetric_error(values, *minmax(counted)))
    assert fidelity(counted, minmax(counted), symmetric=True) == pytest.approx(true, abs=0.1)


def test_mse_clips_for_the_grid_the_file_will_have() -> None:
    """Wide to one side: with a zero point each end is clipped for itself, without one the longer end decides."""
    values = np.concatenate([normal(), np.abs(normal()) * 4]).astype(np.float32)
    values[7] = 60.0
    asked = Calibration(ranges="mse")
    affine, centred = find(histogram(values), asked), find(histogram(values), asked, symmetric=True)
    assert symmetric_error(values, *centred) <= symmetric_error(values, *affine)
    best = min(symmetric_error(values, -one, one) for one in np.linspace(5, 60, 400))
    assert symmetric_error(values, *centred) <= 1.02 * best


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), min_size=1, max_size=6), st.randoms()
)
def test_counts_do_not_depend_on_order_or_batches(batches: list[list[float]], draw: object) -> None:
    arrays = [np.array(one, np.float32) for one in batches]
    once = histogram(np.concatenate(arrays))
    shuffled = list(arrays)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    parts = histogram(*shuffled)
    assert (parts.extent, parts.least, parts.greatest) == (once.extent, once.least, once.greatest)
    assert np.array_equal(parts.counts, once.counts)
    assert sorted(parts.extremes) == sorted((len(one), float(one.min()), float(one.max())) for one in arrays)
    assert int(once.counts.sum()) == sum(len(one) for one in batches)
