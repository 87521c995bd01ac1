"""Temperature scaling, calibration error and the bound under which an answer is unsure."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.torch
pytest.importorskip("torch", reason="needs the 'host' extra")

from edgekit.convert import confidence  # noqa: E402


def told(seed: int, spread: float, texts: int = 4000, classes: int = 5) -> tuple[np.ndarray, list[int]]:
    """Logits whose softmax is the truth's own distribution, stretched by ``spread``."""
    draw = np.random.default_rng(seed)
    honest = draw.normal(size=(texts, classes)) * 2
    chances = confidence.probabilities(honest, 1.0)
    truth = [int(draw.choice(classes, p=one)) for one in chances]
    return (honest * spread).astype(np.float32), truth


@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_stretch_of_the_logits(spread: float) -> None:
    logits, truth = told(1, spread)
    assert confidence.temperature(logits, truth) == pytest.approx(spread, rel=0.06)


def test_calibrating_takes_the_error_away_and_changes_no_label() -> None:
    logits, truth = told(2, 4.0)
    before = confidence.probabilities(logits, 1.0)
    after = confidence.probabilities(logits, confidence.temperature(logits, truth))
    assert confidence.calibration_error(before, truth) > 10
    assert confidence.calibration_error(after, truth) < 3
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()


def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy() -> None:
    # all say 0.9; half of them are right
    probabilities = np.tile([0.9, 0.1], (10, 1))
    assert confidence.calibration_error(probabilities, [0] * 5 + [1] * 5) == pytest.approx(40)
    assert confidence.calibration_error(probabilities, [0] * 9 + [1]) == pytest.approx(0)


def test_the_bound_is_the_least_that_keeps_what_was_asked() -> None:
    best = [0.99, 0.95, 0.9, 0.8, 0.7, 0.6]
    probabilities = np.array([[one, 1 - one] for one in best])
    truth = [0, 0, 1, 0, 0, 1]
    assert confidence.bound(probabilities, truth, 80) == pytest.approx(0.7)  # 4 of 5; all six would be 67 %
    assert confidence.bound(probabilities, truth, 100) == pytest.approx(0.95)
    assert confidence.bound(probabilities, truth, 60) == pytest.approx(0.6)
    assert confidence.bound(probabilities, [1] * 6, 50) is None


def test_rounding_the_bound_lets_no_wrong_answer_in() -> None:
    best = np.array([0.99999] * 3 + [0.99992] * 3 + [0.9])
    probabilities = np.stack([best, 1 - best], axis=1)
    assert confidence.bound(probabilities, [0, 0, 0, 1, 1, 1, 0], 100) is None, "of 4 digits they are all alike"
    assert confidence.bound(probabilities, [0, 0, 0, 1, 1, 1, 0], 50) == 0.9
    assert confidence.bound(probabilities, [0] * 6 + [1], 100) == 0.9999


def test_answers_of_one_probability_are_sure_together_or_not_at_all() -> None:
    probabilities = np.array([[0.8, 0.2]] * 3 + [[0.6, 0.4]])
    assert confidence.bound(probabilities, [0, 1, 1, 0], 100) is None
