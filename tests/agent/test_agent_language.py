"""What the agent counts of a language model's logits."""

from __future__ import annotations

import math

import pytest

numpy = pytest.importorskip("numpy")

from edgekit.agent.runtimes import language  # noqa: E402


def test_each_token_is_told_by_the_logits_at_the_one_before() -> None:
    draw = numpy.random.default_rng(3)
    logits, ids = draw.normal(size=(8, 11)).astype("float32") * 3, (4, 9, 0, 10, 2)
    found = language.told(logits, ids)
    assert found is not None
    shares = [[math.exp(one) for one in row] for row in logits.tolist()]
    wanted = [-math.log(shares[place][ids[place + 1]] / sum(shares[place])) for place in range(4)]
    assert found.nll == pytest.approx(sum(wanted), rel=1e-5)
    assert found.tokens == 4, "what stands at padding, and what comes after the text, is told by nobody"
    assert found.hits == sum(int(numpy.argmax(logits[place])) == ids[place + 1] for place in range(4))


def test_a_model_that_knows_nothing_is_as_perplexed_as_there_are_tokens() -> None:
    found = language.told(numpy.full((16, 50), 7.5, "float32"), tuple(range(12)))
    assert found is not None
    assert found.perplexity == pytest.approx(50, rel=1e-6)


def test_huge_logits_do_not_overflow() -> None:
    logits = numpy.array([[3e4, -3e4], [0.0, 0.0]], "float32")
    found = language.told(logits, (0, 1))
    assert found is not None
    assert found.nll == pytest.approx(6e4)


def test_a_text_of_one_token_tells_nothing() -> None:
    found = language.told(numpy.zeros((4, 3), "float32"), (1,))
    assert found is not None
    assert (found.tokens, found.hits, found.nll) == (0, 0, 0.0)


def test_the_answer_to_a_text_stands_at_its_last_real_token() -> None:
    logits = numpy.arange(12, dtype="float32").reshape(4, 3)
    assert language.answer(logits, [1, 1, 0, 0]) == [3.0, 4.0, 5.0]
    assert language.answer(logits[0], [1, 1, 0, 0]) == [0.0, 1.0, 2.0], "a classifier has but one row"
    assert language.told(logits[0], (1, 2)) is None
