from __future__ import annotations

import dataclasses
import random

import bench_kit as kit
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.benchmark.statistics import Interval, gain, median_interval, percentile, summarise
from edgekit.errors import UsageError
from edgekit.spec.result import Run

times = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=90)


def only(values: list[float]):
    run = dataclasses.replace(
        kit.measured(1.0, 10.0), end_to_end=tuple(values), model_only=tuple(values), labels=(0,) * len(values)
    )
    return kit.result((Run(kit.job(kit.OPTIMIZED, len(values)), run),), solutions=(kit.OPTIMIZED,))


@settings(max_examples=25, deadline=None)
@given(values=times, seed=st.integers(0, 9))
def test_figures_lie_within_the_values_in_whatever_order(values: list[float], seed: int) -> None:
    (row,) = summarise(only(values))
    figures = row.figures
    assert figures is not None
    assert min(values) <= figures.interval.low <= figures.interval.high <= max(values)
    assert min(values) <= figures.median <= max(values)
    assert (figures.p90 is None) == (len(values) < 64)
    assert figures.p99 is None
    shuffled = random.Random(seed).sample(values, len(values))
    again = summarise(only(shuffled))[0].figures
    assert again is not None
    assert (again.median, again.p90) == (figures.median, figures.p90)


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=700), p=st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_is_one_of_the_values_or_refused(values: list[float], p: float) -> None:
    needs = {0.5: 11, 0.9: 64, 0.99: 662}[p]
    found = percentile(values, p)
    if len(values) < needs:
        assert found is None
    else:
        assert found in values
        assert sum(one <= found for one in values) >= p * len(values)


def test_repeating_processes_does_not_make_texts() -> None:
    assert percentile([1.0] * 189, 0.9, texts=63) is None
    assert percentile([1.0] * 192, 0.9, texts=64) == 1.0


def test_the_interval_holds_the_true_median_and_narrows() -> None:
    rng = random.Random(4)
    few = [[rng.gauss(100, 10) for _ in range(64)]]
    many = [[rng.gauss(100, 10) for _ in range(2000)]]
    narrow, wide = median_interval(many), median_interval(few)
    assert wide.low < 100 < wide.high
    assert narrow.high - narrow.low < (wide.high - wide.low) / 3


def test_rows_of_a_benchmark() -> None:
    baseline, optimized, padded = summarise(kit.result())
    assert baseline.gain is None
    assert optimized.figures is not None
    assert optimized.figures.peak_memory == 48 * kit.MB
    assert optimized.figures.agreement == 1.0
    assert optimized.figures.device_accuracy == pytest.approx(100 * 51 / 64)
    assert optimized.figures.padding_waste == pytest.approx(5 / 16)
    assert baseline.figures is not None
    assert baseline.figures.agreement is None
    won = optimized.gain
    assert won is not None
    assert won.speedup == pytest.approx(baseline.figures.median / optimized.figures.median)
    assert won.interval.low <= won.speedup <= won.interval.high
    assert won.memory_reduction == pytest.approx(100 * 93 / 141)
    assert won.size_ratio == pytest.approx(91.14 / 6.12)
    assert won.accuracy_delta == pytest.approx(-0.55)
    assert padded.gain is not None
    assert padded.gain.speedup < 1


def test_equal_results_give_equal_rows() -> None:
    assert summarise(kit.result()) == summarise(kit.result())


def test_a_failed_solution_keeps_its_row() -> None:
    runs = (
        Run(kit.job(kit.BASELINE), failure="killed: out of memory"),
        Run(kit.job(kit.OPTIMIZED), kit.measured(19.6, 48.0)),
    )
    baseline, optimized = summarise(kit.result(runs, solutions=(kit.BASELINE, kit.OPTIMIZED)))
    assert baseline.figures is None
    assert baseline.failures == ("killed: out of memory",)
    assert optimized.figures is not None
    assert optimized.gain is None


def test_an_invalid_run_is_left_out_and_said_so() -> None:
    good = kit.measured(20.0, 48.0, seed=2)
    slow = kit.measured(80.0, 48.0, seed=2)
    job = kit.job(kit.OPTIMIZED)
    with_bad = kit.result((Run(job, good), Run(job, slow, invalid=("throttled",))), solutions=(kit.OPTIMIZED,))
    (row,) = summarise(with_bad)
    assert row.invalid == ("throttled",)
    assert row.figures == summarise(kit.result((Run(job, good),), solutions=(kit.OPTIMIZED,)))[0].figures


def test_processes_are_pooled_and_memory_is_the_largest() -> None:
    job = kit.job(kit.OPTIMIZED)
    runs = tuple(Run(job, kit.measured(20.0, peak, seed=n)) for n, peak in enumerate((40.0, 44.0, 42.0)))
    (row,) = summarise(kit.result(runs, solutions=(kit.OPTIMIZED,)))
    assert row.figures is not None
    assert (row.figures.processes, row.figures.texts, len(row.figures.end_to_end)) == (3, 64, 192)
    assert row.figures.peak_memory == 44 * kit.MB


def test_a_gain_over_a_solution_of_another_count_is_not_paired() -> None:
    runs = (
        Run(kit.job(kit.OPTIMIZED), kit.measured(20.0, 48.0)),
        Run(kit.job(kit.PADDED, 16), kit.measured(1000.0, 160.0, texts=16)),
    )
    won = gain(kit.result(runs, solutions=(kit.OPTIMIZED, kit.PADDED)), "optimized", "padded-128")
    assert won is not None
    assert won.interval.low < won.speedup < won.interval.high
    with pytest.raises(UsageError, match="no such solution"):
        gain(kit.result(), "optimized", "padded-64")


def test_intervals_that_touch_overlap() -> None:
    assert Interval(1, 2).overlaps(Interval(2, 3))
    assert not Interval(1, 2).overlaps(Interval(2.1, 3))
