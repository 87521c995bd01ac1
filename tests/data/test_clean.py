from __future__ import annotations

import random
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from edgekit.data.clean import clean, distinct


def test_folds_space_and_drops_what_cannot_be_seen() -> None:
    assert clean("  a\tb\r\n\u00a0c\u200b\x00d\ufeff ") == "a b cd"


def test_composes() -> None:
    assert clean("cafe\u0301") == "caf\u00e9"


def test_lowercase_is_asked_for() -> None:
    assert clean("ÀB", lowercase=True) == "àb"
    assert clean("ÀB") == "ÀB"


@given(st.text(), st.booleans())
def test_is_idempotent_and_encodable(text: str, lowercase: bool) -> None:
    once = clean(text, lowercase)
    assert clean(once, lowercase) == once
    assert unicodedata.is_normalized("NFC", once)
    once.encode("utf-8")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"))), st.randoms(use_true_random=False))
def test_distinct_does_not_see_the_order(rows: list[tuple[str, str]], draw: random.Random) -> None:
    turned = list(rows)
    draw.shuffle(turned)
    assert distinct(turned) == distinct(rows)
    assert len({text for text, _ in distinct(rows)}) == len(distinct(rows)) == len({text for text, _ in rows})


def test_a_text_with_two_labels_takes_the_more_frequent() -> None:
    assert distinct([("t", "b"), ("t", "c"), ("t", "c")]) == [("t", "c")]
    assert distinct([("t", "c"), ("t", "b")]) == [("t", "b")]
