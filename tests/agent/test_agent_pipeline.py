"""Buckets and decoding, without a runtime."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.agent import pipeline
from edgekit.errors import DeviceError

LENGTHS = (16, 32, 64, 128)


@given(st.integers(1, 128))
def test_the_least_bucket_that_holds_the_text(tokens: int) -> None:
    found = pipeline.bucket(tokens, LENGTHS)
    assert found >= tokens
    assert not [one for one in LENGTHS if tokens <= one < found]


def test_a_forced_length() -> None:
    assert pipeline.bucket(3, LENGTHS, pad_to=128) == 128
    for tokens, pad_to in ((3, 100), (20, 16), (129, None)):
        with pytest.raises(DeviceError, match="no length"):
            pipeline.bucket(tokens, LENGTHS, pad_to)


def test_a_dynamic_model_takes_a_text_at_its_own_length() -> None:
    assert [pipeline.bucket(tokens, LENGTHS, dynamic=True) for tokens in (0, 1, 3, 17, 128)] == [1, 1, 3, 17, 128]
    assert pipeline.bucket(3, LENGTHS, pad_to=128, dynamic=True) == 128, "a padded baseline is padded"
    with pytest.raises(DeviceError, match="no length"):
        pipeline.bucket(129, LENGTHS, dynamic=True)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20))
def test_softmax(logits: list[float]) -> None:
    found = pipeline.softmax(logits)
    assert math.isclose(sum(found), 1.0, rel_tol=1e-9)
    assert found[pipeline.argmax(logits)] == max(found)


def test_nan_is_no_answer() -> None:
    with pytest.raises(DeviceError, match="no number"):
        pipeline.argmax([0.0, math.nan])
    with pytest.raises(DeviceError, match="no number"):
        pipeline.argmax([])


class Recorded:
    def run(self, length: int, ids: list[int], mask: list[int]) -> list[float]:
        self.seen = (length, ids, mask)
        return [0.25, 0.75]


def test_padding_goes_after_the_tokens() -> None:
    runner = Recorded()
    found = pipeline.infer(runner, (5, 6, 7), 8, pad_id=9)
    assert runner.seen == (8, [5, 6, 7, 9, 9, 9, 9, 9], [1, 1, 1, 0, 0, 0, 0, 0])
    assert (found.label, found.bucket, found.logits) == (1, 8, (0.25, 0.75))


def test_a_temperature_changes_how_sure_an_answer_is_and_not_which() -> None:
    logits = [1.0, 3.0, 2.0]
    plain, warm = pipeline.softmax(logits), pipeline.softmax(logits, 2.0)
    assert pipeline.argmax(warm) == pipeline.argmax(plain) == 1
    assert warm[1] < plain[1]
    assert warm == pytest.approx(pipeline.softmax([one / 2 for one in logits]))
