"""A result summed up says what the statistics say, one flat line a solution."""

from __future__ import annotations

import bench_kit as kit

from edgekit.benchmark.statistics import summarise
from edgekit.benchmark.summary import lines
from edgekit.spec.result import Run


def test_a_line_holds_the_figures_of_its_row() -> None:
    result = kit.result()
    told = {one.solution: one for one in lines(result)}
    rows = {one.solution.name: one for one in summarise(result)}
    assert list(told) == list(rows)
    ours, row = told["optimized"], rows["optimized"]
    assert row.figures is not None
    assert row.gain is not None
    assert (ours.texts, ours.median_ms, ours.p90_ms) == (kit.TEXTS, row.figures.median, row.figures.p90)
    assert (ours.median_low, ours.median_high) == (row.figures.interval.low, row.figures.interval.high)
    assert (ours.improvement, ours.memory_reduction) == (row.gain.speedup, row.gain.memory_reduction)
    assert (ours.improvement_low, ours.improvement_high) == (row.gain.interval.low, row.gain.interval.high)
    assert (ours.accuracy, ours.accuracy_delta) == (kit.OPTIMIZED.accuracy, row.gain.accuracy_delta)
    assert (ours.device_accuracy, ours.agreement) == (row.figures.device_accuracy, row.figures.agreement)
    assert (told["baseline"].improvement, told["baseline"].size) == (None, kit.BASELINE.size)


def test_what_gave_no_figure_says_why() -> None:
    failed = [Run(kit.job(one), failure="SIGSEGV") for one in (kit.BASELINE, kit.OPTIMIZED, kit.PADDED)]
    for one in lines(kit.result(tuple(failed))):
        assert (one.median_ms, one.texts, one.improvement, one.left_out) == (None, 0, None, ("SIGSEGV",))
