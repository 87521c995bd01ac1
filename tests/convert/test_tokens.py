from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

from edgekit.convert.tokens import padded, spread, tokenize

pytestmark = pytest.mark.torch


def test_truncation_keeps_both_special_tokens(tiny_bert: Path) -> None:
    short, long = tokenize(tiny_bert, ["cat", "cat dog sun rain run cat dog"], 6)
    assert short == [3, 58, 4]
    assert len(long) == 6
    assert (long[0], long[-1]) == (3, 4)


def test_padding_is_masked_and_cutting_keeps_the_separator() -> None:
    one = padded([3, 58, 4], 5)
    assert one["input_ids"].tolist() == [[3, 58, 4, 0, 0]]
    assert one["attention_mask"].tolist() == [[1, 1, 1, 0, 0]]
    assert padded([3, 7, 8, 9, 4], 4)["input_ids"].tolist() == [[3, 7, 8, 4]]


def test_each_bucket_gets_its_own_texts_and_borrows_the_nearest() -> None:
    texts = [[3, 4], [3, 7, 4], [3, 7, 8, 9, 9, 9, 4]]
    buckets = spread(texts, (4, 8, 16), least=2)
    assert [len(buckets[one]) for one in (4, 8, 16)] == [2, 2, 2]
    assert int(buckets[16][0]["attention_mask"].sum()) == 7
    assert buckets[8][1]["input_ids"].shape == (1, 8)


def test_no_more_is_borrowed_than_there_is() -> None:
    assert [len(one) for one in spread([[3, 4]], (4, 8), least=9).values()] == [1, 1]
