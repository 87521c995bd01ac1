"""Drawing the next token: against numpy's own reckoning of each distribution."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from edgekit.agent.runtimes.cached import Cached
from edgekit.agent.sampling import Sampler
from edgekit.errors import DeviceError

DRAWS = 20_000
LOGITS = np.random.default_rng(5).normal(0.0, 2.0, 40)
ORDER = np.argsort(-LOGITS, kind="stable")


class Said(Cached):
    """A model that has answered these logits."""

    def __init__(self, logits: Any) -> None:
        super().__init__(("seen",), 8, 1)
        self._logits = np.asarray(logits, np.float32)

    def _compute(self, ids: list[int]) -> Any:
        raise NotImplementedError

    def _input(self, name: str) -> Any:
        raise NotImplementedError


MODEL = Said(LOGITS)


def wanted(temperature: float, top_k: int | None, top_p: float) -> np.ndarray:
    """transformers' warpers, in numpy: temperature, then top-k, then top-p, then softmax over what is left."""
    logits = LOGITS / temperature
    if top_k is not None:
        logits = np.where(logits >= np.sort(logits)[-min(top_k, len(logits))], logits, -np.inf)
    powers = np.exp(logits - logits.max())
    order = np.argsort(-powers, kind="stable")
    before = np.cumsum(powers[order] / powers.sum()) - powers[order] / powers.sum()
    powers[order[before >= top_p]] = 0.0
    return powers / powers.sum()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, None, 1.0), (0.5, None, 1.0), (2.0, 7, 1.0), (1.0, None, 0.8), (1.3, 12, 0.6), (1.0, 100, 1.0)],
)
def test_tokens_come_as_often_as_their_probabilities_say(temperature: float, top_k: int | None, top_p: float) -> None:
    sampler = Sampler(temperature, top_k, top_p, seed=11)
    drawn = Counter(sampler(MODEL) for _ in range(DRAWS))
    expected = wanted(temperature, top_k, top_p) * DRAWS
    assert set(drawn) <= set(np.flatnonzero(expected)), "nothing that was cut off is ever drawn"
    enough = [one for one in np.flatnonzero(expected) if expected[one] >= 5]
    chi = sum((drawn[one] - expected[one]) ** 2 / expected[one] for one in enough)
    # the statistic's mean is the number of cells less one, its variance twice that: five deviations
    assert chi < len(enough) + 5 * np.sqrt(2 * len(enough))


def test_the_same_seed_draws_the_same_tokens_and_another_one_others() -> None:
    first, again, other = (
        [sampler(MODEL) for _ in range(50)] for sampler in (Sampler(1.0, None, 1.0, one) for one in (3, 3, 4))
    )
    assert first == again
    assert first != other


def test_temperature_zero_and_the_smallest_choices_take_the_likeliest() -> None:
    for asked in ((0.0, None, 1.0), (1.0, None, 0.0), (1.0, 1, 1.0), (1e-300, None, 1.0)):
        assert {Sampler(*asked, seed)(MODEL) for seed in range(20)} == {int(ORDER[0])}


def test_chances_from_end_to_end_draw_what_is_there() -> None:
    never = Said([-np.inf, 1.0, -np.inf, 0.0, -np.inf])
    for top_k, top_p in ((None, 1.0), (2, 1.0), (None, 0.9999), (5, 0.9)):
        found = {never.drawn(1.0, top_k, top_p, chance) for chance in (0.0, 0.5, 1.0 - 1e-16)}
        assert found == {1, 3}, (top_k, top_p)


@pytest.mark.parametrize("asked", [(0.0, None, 1.0), (1.0, None, 1.0), (1.0, 2, 1.0), (1.0, None, 0.5)])
@pytest.mark.parametrize("place", [0, 2])
def test_what_is_no_number_is_never_drawn(asked: tuple[float, Any, float], place: int) -> None:
    logits = [1.0, 2.0, 3.0]
    logits[place] = float("nan")
    with pytest.raises(DeviceError, match="no number"):
        Sampler(*asked, 0)(Said(logits))
