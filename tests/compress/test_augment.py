"""Changed copies of texts: what each kind of change does, how often, and that nothing held out is among them."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import augment, distill
from edgekit.compress.task import Task
from edgekit.data.samples import Sample, Samples
from edgekit.spec.distill import Distill
from edgekit.spec.progress import quiet

pytestmark = pytest.mark.torch
WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30)


@given(WORDS, st.integers(0, 99))
def test_a_span_is_some_of_the_words_in_a_row(words: list[str], seed: int) -> None:
    found = augment.span(words, random.Random(seed))
    assert 1 <= len(found) <= max(1, len(words) - 1)
    assert any(words[at : at + len(found)] == found for at in range(len(words)))


@given(WORDS, WORDS, st.integers(0, 99))
def test_a_splice_is_a_short_piece_of_each_text(left: list[str], right: list[str], seed: int) -> None:
    right = [word.upper() for word in right]
    found = augment.spliced(left, right, random.Random(seed))
    lower, upper = ([word for word in found if word.islower() is low] for low in (True, False))
    assert found in (lower + upper, upper + lower)
    for piece, words in ((lower, left), (upper, right)):
        assert 1 <= len(piece) <= augment.PIECE
        assert any(words[at : at + len(piece)] == piece for at in range(max(1, len(words) // 2)))


def test_words_are_dropped_and_replaced_as_often_as_it_says() -> None:
    draw = random.Random(5)
    words = [str(number) for number in range(20000)]
    found = augment.reworded(words, ["new"], draw)
    assert 1 - len(found) / len(words) == pytest.approx(augment.DROPPED, abs=0.01)
    assert found.count("new") / len(words) == pytest.approx(augment.REPLACED, abs=0.01)
    kept = [int(one) for one in found if one != "new"]
    assert 0 < sum(left > right for left, right in pairwise(kept)) / len(kept) < 0.1
    assert all(augment.reworded(["one"], ["new"], draw) for _ in range(100))


def test_copies_are_of_every_kind_and_spliced_with_other_texts_too() -> None:
    own, others = ["a b c d e f g h"] * 400, ["X Y Z"]
    made = [one.split() for one in augment.copies(own, 1, 7, others)]
    assert len(made) == 400
    strange = sum(any(word.isupper() for word in one) for one in made) / 400
    assert strange == pytest.approx(augment.SPLICED * (1 - augment.OWN), abs=0.05)
    none_other = [one for one in augment.copies(own, 1, 7) if any(word.isupper() for word in one.split())]
    assert none_other == []
    assert made != [one.split() for one in augment.copies(own, 1, 8, others)]
    assert augment.copies([""], 3, 7) == []


def test_no_copy_is_a_text_that_is_held_out(samples: Samples, tmp_path: Path) -> None:
    """Of two words, a span is one of them: held out, it must not come."""
    few = replace(
        samples, train=[Sample("Cat rains", 0)] * 50, validation=[Sample("cat", 0)], test=[Sample("RAINS cat", 0)]
    )
    task: Any = Task(tmp_path, tmp_path, few, tmp_path / "out", (24,), 7, quiet)
    plain = augment.copies(["Cat rains"] * 50, 4, 7)
    texts = distill._texts(Distill(augment=4), task)
    made = [one.text.lower() for one in texts[50:]]
    assert {"cat", "rains cat"} <= {one.lower() for one in plain}
    assert not {"cat", "rains cat"} & set(made)
    assert len(made) > 50
    assert {one.label for one in texts[50:]} == {-1}
