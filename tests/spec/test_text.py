"""A text is the same text in training and on the device."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data import clean as host
from edgekit.spec.text import clean

ODD = st.text(st.sampled_from(list("ab \t\n\u00a0\u2003\u200b\u200d\ufeff\u0301e\u00e9\u00ad\x07\ud800\uac00\u11a8")))


@given(st.one_of(st.text(), ODD))
def test_cleaning_again_changes_nothing(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert host.clean(text) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "  " not in once
    assert once == once.strip()
    assert not [one for one in once if unicodedata.category(one) in ("Cc", "Cf", "Cs")]


@given(st.text(st.characters(codec="ascii")))
def test_the_short_way_for_plain_texts_is_no_other_way(text: str) -> None:
    plain = "".join(" " if one.isspace() else one for one in text if one.isprintable() or one.isspace())
    assert clean(text) == " ".join(plain.split())


@pytest.mark.parametrize(
    ("text", "found"),
    [("web\u200bserver", "webserver"), ("\ufeffa\u00a0 b\r\n", "a b"), ("e\u200d\u0301", "\u00e9"), ("\x00", "")],
)
def test_what_cannot_be_seen_goes(text: str, found: str) -> None:
    assert clean(text) == found
