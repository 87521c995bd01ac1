"""Length buckets: statistics, and the choice by the data."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.data.lengths import ROWS, SHORTEST, choose, summarise


def computed(counts: list[int], lengths: tuple[int, ...]) -> int:
    return sum(next(one for one in lengths if min(count, lengths[-1]) <= one) for count in counts)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 5), st.sampled_from([8, 23, 32]))
def test_no_other_choice_computes_less(counts: list[int], buckets: int, longest: int) -> None:
    found = choose(counts, buckets, longest)
    inner = range(SHORTEST, longest, ROWS)
    others = [(*some, longest) for size in range(buckets) for some in combinations(inner, size)]
    assert found in others
    assert computed(counts, found) == min(computed(counts, one) for one in others)


def test_buckets_that_gain_nothing_are_left_out() -> None:
    assert choose([8] * 50, 6, 64) == (8, 64)
    assert choose([64, 90], 6, 64) == (64,)


def test_chosen_buckets_pad_less_than_even_ones() -> None:
    counts = [6, 7, 8, 9, 9, 10, 11, 11, 12, 12, 13, 15, 17, 22, 40]
    even, chosen = (16, 32, 48, 64), choose(counts, 4, 64)
    assert summarise(counts, chosen).padding < summarise(counts, even).padding * 0.7


@pytest.mark.parametrize("longest", [4, 5])
def test_the_longest_is_always_there(longest: int) -> None:
    assert choose([1, 2, 3], 3, longest)[-1] == longest
