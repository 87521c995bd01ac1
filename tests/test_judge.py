"""Which candidate ships."""

import pytest

from edgekit.errors import GateMissed
from edgekit.judge import judge
from edgekit.outcome import Candidate
from edgekit.spec.recipe import Gates


def _candidate(name: str, **values: object) -> Candidate:
    base = {"format": "tflite", "scheme": name, "size": 4_000_000, "accuracy": 80.0, "drop": 1.0, "latency_ms": 10.0}
    return Candidate(name=name, **{**base, **values})  # type: ignore[arg-type]


def _shipped(candidates: tuple[Candidate, ...]) -> str:
    (one,) = [one.name for one in candidates if one.shipped]
    return one


def test_int8_slower_than_float_on_the_target_loses() -> None:
    judged = judge([_candidate("float", size=9_000_000), _candidate("int8", latency_ms=14.0, size=2_000_000)], Gates())
    assert _shipped(judged) == "float"


def test_the_hosts_clock_decides_nothing() -> None:
    judged = judge(
        [
            _candidate("float", size=9_000_000, measured_on="host"),
            _candidate("int8", latency_ms=99.0, measured_on="host"),
        ],
        Gates(),
    )
    assert _shipped(judged) == "int8"


def test_a_tie_goes_to_the_smaller_file() -> None:
    judged = judge([_candidate("float", size=9_000_000), _candidate("int8", latency_ms=10.1, size=2_000_000)], Gates())
    assert _shipped(judged) == "int8"


def test_the_quickest_that_misses_a_gate_does_not_ship() -> None:
    judged = judge([_candidate("slow"), _candidate("wrong", latency_ms=1.0, drop=9.0)], Gates(accuracy_drop=1.5))
    assert _shipped(judged) == "slow"
    assert judged[1].verdicts == ("accuracy drop 9.00 points, allowed 1.5 points",)


def test_a_failed_candidate_never_ships() -> None:
    judged = judge([_candidate("good"), _candidate("dead", latency_ms=0.1, failure="parity: cosine 0.67")], Gates())
    assert _shipped(judged) == "good"


@pytest.mark.parametrize(
    ("gates", "missed"),
    [
        (Gates(accuracy_drop=0.5), "accuracy drop 1.00 points, allowed 0.5 points"),
        (Gates(size_mb=1), "size 4.00 MB, allowed 1 MB"),
        (Gates(latency_ms=2), "latency 10.00 ms, allowed 2 ms"),
        (Gates(peak_memory_mb=1), "peak memory was not measured, allowed 1 MB"),
    ],
)
def test_a_missed_gate_says_what_each_candidate_reached(gates: Gates, missed: str) -> None:
    with pytest.raises(GateMissed) as caught:
        judge([_candidate("int8")], gates)
    assert missed in str(caught.value)
    assert caught.value.exit_code == 4
    assert caught.value.details is not None
    (told,) = caught.value.details["candidates"]
    assert (told["name"], told["drop"], told["verdicts"]) == ("int8", 1.0, [missed])


def test_where_none_meets_the_gates_the_nearest_is_named_with_what_it_misses() -> None:
    far, near, dead = _candidate("far", drop=6.0), _candidate("near", drop=1.8), _candidate("dead", failure="parity")
    with pytest.raises(GateMissed, match=r"the nearest is near: accuracy drop 1\.80 points") as caught:
        judge([dead, far, near], Gates(accuracy_drop=1.5, size_mb=5))
    assert caught.value.details is not None
    assert caught.value.details["nearest"] == "near"
    with pytest.raises(GateMissed, match="no candidate meets the gates\n"):
        judge([dead], Gates())


def test_a_candidate_whose_weights_fell_back_is_refused_by_the_coverage_gate() -> None:
    candidates = [_candidate("half", coverage=50.0, latency_ms=1.0), _candidate("whole", coverage=99.5)]
    assert _shipped(judge(candidates, Gates())) == "half"
    judged = judge(candidates, Gates(coverage=99.0))
    assert _shipped(judged) == "whole"
    assert judged[0].verdicts == ("weights in a wider precision than the scheme's 50.00 %, allowed 1 %",)
    with pytest.raises(GateMissed, match="nearest is whole"):
        judge(candidates, Gates(coverage=99.9))
