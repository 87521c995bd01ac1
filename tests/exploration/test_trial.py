"""What a candidate misses, and which one is named where none will do."""

from __future__ import annotations

from edgekit.exploration import trial
from edgekit.spec.recipe import Gates
from edgekit.spec.trial import Option, Trial

GATES = Gates(accuracy_drop=1.0, size_mb=2.5, latency_ms=4.0)


def option(latency: float = 3.0, size: float = 2.0, drop: float | None = 0.5, name: str = "tflite-a") -> Option:
    return Option(name, latency, int(size * 1e6), None if drop is None else 80 - drop, drop)


def test_each_gate_is_missed_by_its_own_share() -> None:
    assert trial.missed(option(), GATES) == {}
    assert trial.missed(option(latency=5.0, size=5.0, drop=1.5), GATES) == {
        "accuracy_drop": 0.5,
        "size_mb": 1.0,
        "latency_ms": 0.25,
    }


def test_a_price_may_be_off_by_the_slack_but_a_size_may_not() -> None:
    assert trial.missed(option(latency=4.1, drop=None), GATES, 0.05) == {}
    assert "size_mb" in trial.missed(option(size=2.51, drop=None), GATES, 0.05)


def test_the_quickest_option_that_meets_the_gates_is_the_best_and_failed_ones_never_are() -> None:
    quick, wrong = option(latency=1.0, drop=3.0, name="tflite-b"), option(latency=2.0, name="tflite-c")
    dead = Option("tflite-d", 0.1, 1, failure="it answers nonsense")
    assert trial.best([option(), quick, wrong, dead], GATES) == wrong
    assert trial.best([dead], GATES) is None


def test_the_nearest_is_named_with_its_gate_and_by_how_much() -> None:
    near, far = option(drop=1.25), option(drop=4.0, latency=3.5)
    trials = [
        Trial(0, {"x": 1}, "trained", "", far, trial.missed(far, GATES)),
        Trial(1, {"x": 2}, "trained", "", near, trial.missed(near, GATES)),
        Trial(2, {"x": 3}, "skipped", "", option(latency=4.3, drop=None), {"latency_ms": 0.075}),
    ]
    error = trial.none_feasible(trials, GATES)
    assert error.exit_code == 4
    assert "the nearest is trial 1" in error.message
    assert "accuracy drop 1.25 points, allowed 1 points" in error.message
    assert error.given == "x = 2"
    assert error.details == {"nearest": 1, "missed": {"accuracy_drop": 0.25}, "settings": {"x": 2}}


def test_where_nothing_was_trained_the_nearest_price_is_named_and_where_nothing_could_be_the_reasons() -> None:
    slow = option(latency=6.0, drop=None)
    error = trial.none_feasible([Trial(0, {}, "skipped", "", slow, trial.missed(slow, GATES))], GATES)
    assert "latency 6.00 ms, allowed 4 ms" in error.message
    error = trial.none_feasible([Trial(0, {}, "refused", "more heads than there are")], GATES)
    assert error.given == "more heads than there are"
