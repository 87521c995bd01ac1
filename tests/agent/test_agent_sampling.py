"""Drawing the next token: against numpy's own reckoning of each distribution."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgekit.agent.sampling import Sampler

DRAWS = 20_000
LOGITS = np.random.default_rng(5).normal(0.0, 2.0, 40)
ORDER = np.argsort(-LOGITS, kind="stable")


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
    told = ORDER[: sampler.count]
    drawn = Counter(sampler(told.tolist(), LOGITS[told].tolist()) for _ in range(DRAWS))
    expected = wanted(temperature, top_k, top_p) * DRAWS
    assert set(drawn) <= set(np.flatnonzero(expected)), "nothing that was cut off is ever drawn"
    enough = [one for one in np.flatnonzero(expected) if expected[one] >= 5]
    chi = sum((drawn[one] - expected[one]) ** 2 / expected[one] for one in enough)
    # the statistic's mean is the number of cells less one, its variance twice that: five deviations
    assert chi < len(enough) + 5 * np.sqrt(2 * len(enough))


def test_the_same_seed_draws_the_same_tokens_and_another_one_others() -> None:
    told = ORDER.tolist(), LOGITS[ORDER].tolist()
    first, again, other = (
        [sampler(*told) for _ in range(50)] for sampler in (Sampler(1.0, None, 1.0, one) for one in (3, 3, 4))
    )
    assert first == again
    assert first != other


def test_temperature_zero_and_the_smallest_choices_take_the_likeliest() -> None:
    told = ORDER.tolist(), LOGITS[ORDER].tolist()
    assert Sampler(0.0, None, 1.0, 0).count == 1
    assert {Sampler(1.0, None, 0.0, seed)(*told) for seed in range(20)} == {int(ORDER[0])}
    assert {Sampler(1.0, 1, 1.0, seed)(told[0][:1], told[1][:1]) for seed in range(20)} == {int(ORDER[0])}
