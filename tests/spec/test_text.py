"""A text is the same text in training and on the device."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data import clean as host
from edgekit.spec.text import aligned, clean

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


def test_what_is_clean_stands_where_it_stood() -> None:
    found = aligned("a plain text")
    assert (found.text, found.places) == ("a plain text", None)
    assert found.given(2, 7) == found.inside(2, 7) == (2, 7)


def test_places_in_a_cleaned_text_lead_back_to_the_one_that_was_given() -> None:
    told = "  Ada\u200b \t Love\u00adlace,\u0007 Caf\u0065\u0301!\n"
    found = aligned(told)
    assert found.text == "Ada Lovelace, Caf\u00e9!"
    assert told[slice(*found.given(4, 12))] == "Love\u00adlace"
    assert told[slice(*found.given(14, 18))] == "Caf\u0065\u0301", "a letter that was put together is both of its marks"
    assert told[slice(*found.given(3, 4))].isspace()
    at = told.index("Caf")
    assert found.text[slice(*found.inside(at, at + 5))] == "Caf\u00e9"
    assert found.inside(0, 2) == (0, 0), "nothing is left of it"


#: Marks that stand in another order once they are composed, syllables, and letters that composition takes apart.
ALIGNED = st.text(
    st.sampled_from(
        list(
            "ab Z\t\u00ad\u200b\u0301\u0327\u0323\u0f73\u0344e\u00e9\u00f6\u1100\u1161\u11a8"
            "\uac00\u09c7\u09be\u212b\U0001d157"
        )
    )
)


@given(st.one_of(st.text(), ALIGNED))
def test_any_text_is_aligned_as_it_is_cleaned(text: str) -> None:
    found = aligned(text)
    assert found.text == clean(text)
    places = found.places
    if places is None:
        assert found.text == text
        return
    assert len(places) == len(found.text)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert [start for start, _ in places] == sorted(start for start, _ in places)
