"""Spans and the tags that say the same; how well they were found."""

from __future__ import annotations

import pytest

from edgekit.errors import SpecError
from edgekit.spec import spans
from edgekit.spec.spans import Run, Span

WORDS = ((0, 3), (4, 8), (8, 9), (10, 14), (15, 20))


def test_each_label_begins_and_goes_on() -> None:
    assert spans.tags(("PER", "LOC")) == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    assert spans.labels(("I-LOC", "O", "B-PER", "B-LOC", "I-PER")) == ("LOC", "PER"), "in a checkpoint's own order"


@pytest.mark.parametrize("names", [("O", "B-"), ("B-PER", "I-PER"), ("O", "O", "B-PER"), ("O", "PER"), ()])
def test_what_are_no_tags_is_told(names: tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match="no tags of words"):
        spans.check_tags(names)


def test_a_span_takes_the_words_that_it_overlaps() -> None:
    found = spans.tagged(WORDS, [Span(0, 8, "PER"), Span(8, 9, "PER"), Span(12, 20, "LOC")])
    assert found == ["B-PER", "I-PER", "B-PER", "B-LOC", "I-LOC"]


def test_two_spans_in_one_word_leave_it_to_the_first() -> None:
    assert spans.tagged(WORDS, [Span(4, 6, "PER"), Span(6, 9, "LOC")]) == ["O", "B-PER", "B-LOC", "O", "O"]


def test_runs_are_read_as_conlleval_reads_them() -> None:
    """A label that goes on after another one, or after nothing, begins there; B always begins."""
    tags = ["I-PER", "I-PER", "B-PER", "I-LOC", "O", "I-LOC"]
    assert spans.runs(tags) == [Run(0, 2, "PER"), Run(2, 3, "PER"), Run(3, 4, "LOC"), Run(5, 6, "LOC")]


def test_tags_and_runs_are_each_others_inverse() -> None:
    tags = ["O", "B-PER", "I-PER", "B-PER", "B-LOC"]
    whole = [Span(WORDS[one.first][0], WORDS[one.after - 1][1], one.label) for one in spans.runs(tags)]
    assert spans.tagged(WORDS, whole) == tags


def test_f1_is_of_exact_matches_over_all_texts() -> None:
    """As seqeval's own example: of y_true O O O B-MISC I-MISC I-MISC O and B-PER I-PER, the prediction begins MISC a
    word early; precision, recall and F1 are 0.5."""
    words = [[(at, at + 1) for at in range(7)], [(0, 1), (1, 2)]]
    wanted = [[Span(3, 6, "MISC")], [Span(0, 2, "PER")]]
    given = [[Span(2, 6, "MISC")], [Span(0, 2, "PER")]]
    found = spans.counts(words, given, wanted)
    assert (found.given, found.wanted, found.right, found.f1) == (2, 2, 1, 50.0)
    assert (found.words, found.hits) == (9, 7), "one word more, and one that goes on instead of beginning"
    assert found.accuracy == pytest.approx(100 * 7 / 9)


def test_a_right_place_with_another_label_is_wrong() -> None:
    found = spans.counts([WORDS], [[Span(0, 3, "PER")]], [[Span(0, 3, "LOC")]])
    assert (found.f1, found.accuracy) == (0.0, 80.0)


def test_nothing_found_where_nothing_is_to_be_found_is_right() -> None:
    assert spans.counts([WORDS], [()], [()]).f1 == 100.0
    assert spans.counts([], [], []).accuracy == 0.0
