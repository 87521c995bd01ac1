"""Which of a text's tokens answer for its words, with the real tokenizers of each kind."""

from __future__ import annotations

import pytest

pytest.importorskip("tokenizers", reason="needs the 'host' extra")

import tiny_models

from edgekit.spec.words import words_of

TEXT = "a cat, runs  in the naïve Rain 😀 never"
WHOLE = ["a", "cat", ",", "runs", "in", "the", "naïve", "Rain", "😀", "never"]


@pytest.mark.parametrize("family", ["bert", "gpt2", "roberta", "albert"])
def test_words_are_the_same_however_a_tokenizer_cuts_them(family: str) -> None:
    encoding = tiny_models._tokenizer(family).encode(TEXT)
    found = words_of(encoding, TEXT)
    assert [TEXT[one.start : one.end] for one in found] == WHOLE
    assert len(encoding.ids) > len(found), "some are cut into several tokens"
    assert [one.token for one in found] == sorted({one.token for one in found})
    for one in found:
        assert not encoding.special_tokens_mask[one.token]
        assert encoding.offsets[one.token][0] <= one.start < encoding.offsets[one.token][1]


def test_a_text_without_anything_has_no_words() -> None:
    for family in ("bert", "gpt2"):
        assert words_of(tiny_models._tokenizer(family).encode(""), "") == []
