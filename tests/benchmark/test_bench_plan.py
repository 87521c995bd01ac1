from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.benchmark import plan
from edgekit.errors import UsageError
from edgekit.spec.manifest import Artifact, Blob, Manifest, Signature

BLOB = Blob("0" * 64, 10)


def manifest(*, baseline: bool = True) -> Manifest:
    lengths = tuple(Signature(f"len{n}", n, (), ()) for n in (16, 128, 32))
    artifacts = [Artifact("small", "optimized", "tflite", "w8_a8_static", BLOB, BLOB, lengths, accuracy=80.0)]
    if baseline:
        artifacts.append(Artifact("large", "baseline", "tflite", "w32_a32_float", BLOB, BLOB, lengths))
    return Manifest("m", "text-classification", "r", "d", 1, ("a", "b"), tuple(artifacts), BLOB, BLOB)


def test_the_sample_counts_known_from_mlperf() -> None:
    assert plan.percentile_needs(0.9) == 64
    assert plan.percentile_needs(0.99) == 662


@given(p=st.floats(0.5, 0.98), more=st.floats(0.001, 0.01))
def test_a_higher_percentile_never_needs_fewer(p: float, more: float) -> None:
    assert plan.percentile_needs(p) <= plan.percentile_needs(p + more)


@given(p=st.floats(0.5, 0.99))
def test_it_is_the_least_count_that_holds(p: float) -> None:
    def risk(n: int) -> float:
        return sum(math.comb(n, k) * (1 - p) ** k * p ** (n - k) for k in (0, 1))

    n = plan.percentile_needs(p)
    assert risk(n) <= 0.01 + 1e-9 < risk(n - 1) + 2e-9


@pytest.mark.parametrize("p", [0.0, 1.0, 90])
def test_a_percentile_is_a_share(p: float) -> None:
    with pytest.raises(UsageError):
        plan.percentile_needs(p)


def test_a_counted_clock_needs_one_process_each() -> None:
    jobs = plan.jobs(manifest(), clock="counted")
    assert [(one.solution, one.artifact, one.pad_to, one.samples) for one in jobs] == [
        ("baseline", "large", None, 64),
        ("optimized", "small", None, 64),
        ("padded-128", "large", 128, 4),
    ]


def test_a_wall_clock_interleaves_three() -> None:
    names = [one.solution for one in plan.jobs(manifest(), clock="wall")]
    assert names == ["baseline", "optimized", "padded-128"] * 3


def test_single_solutions_take_their_own_count() -> None:
    jobs = plan.jobs(manifest(), clock="counted", samples=100, counts={"padded-128": 64})
    assert [one.samples for one in jobs] == [100, 100, 64]
    with pytest.raises(UsageError, match="no such solution"):
        plan.jobs(manifest(), clock="counted", counts={"padded-64": 64})


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"repeats": 0}, {"counts": {"baseline": -1}}])
def test_nothing_cannot_be_measured(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="too few"):
        plan.jobs(manifest(), clock="counted", **wrong)


def test_without_a_baseline_the_optimized_artifact_stands_alone() -> None:
    assert [one.solution for one in plan.jobs(manifest(baseline=False), clock="counted")] == ["optimized"]


def test_solutions_describe_their_artifacts_once() -> None:
    found = plan.solutions(manifest(), plan.jobs(manifest(), clock="wall"))
    assert [(one.name, one.artifact, one.scheme) for one in found] == [
        ("baseline", "large", "w32_a32_float"),
        ("optimized", "small", "w8_a8_static"),
        ("padded-128", "large", "w32_a32_float"),
    ]
    assert found[1].accuracy == 80.0
