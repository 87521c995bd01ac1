from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.data.split import split
from edgekit.errors import DataError
from edgekit.spec.data import DataSpec


def spec(test: int = 10, validation: int = 5, train: int = 0) -> DataSpec:
    return DataSpec("jsonl", files=("x",), test=test, validation=validation, train=train)


def rows(**classes: int) -> list[tuple[str, str]]:
    return [(f"{label} {number}", label) for label, count in classes.items() for number in range(count)]


@settings(max_examples=40)
@given(st.integers(2, 60), st.integers(30, 60), st.integers(1, 8), st.integers(2, 8), st.integers(), st.randoms())
def test_parts_are_apart_whole_and_blind_to_order(
    few: int, many: int, test: int, validation: int, seed: int, draw: random.Random
) -> None:
    given_rows = rows(a=few, b=many)
    turned = list(given_rows)
    draw.shuffle(turned)
    parts = split(given_rows, spec(test, validation), seed)
    assert parts == split(turned, spec(test, validation), seed)
    assert [len(one) for one in parts[1:]] == [validation, test]
    assert sorted(row for part in parts for row in part) == sorted(given_rows)


def test_each_class_has_its_share() -> None:
    _, _, test = split(rows(a=800, b=200), spec(test=100, validation=50), 1)
    assert Counter(label for _, label in test) == {"a": 80, "b": 20}


def test_another_seed_holds_out_others() -> None:
    assert split(rows(a=50, b=50), spec(), 1)[2] != split(rows(a=50, b=50), spec(), 2)[2]


def test_a_cap_on_train_moves_nothing_held_out() -> None:
    whole = split(rows(a=80, b=80), spec(), 3)
    capped = split(rows(a=80, b=80), spec(train=20), 3)
    assert capped[1:] == whole[1:]
    assert len(capped[0]) == 20
    assert set(capped[0]) <= set(whole[0])


@pytest.mark.parametrize(
    ("given_rows", "asked", "message"),
    [
        (rows(a=50, lonely=1), spec(), "'lonely'"),
        (rows(a=50), spec(), "two classes"),
        (rows(a=8, b=8), spec(), "test \\+ validation up to 14"),
        (rows(a=100, b=3), spec(test=40, validation=30, train=2), "no training sample is left"),
    ],
)
def test_errors(given_rows: list[tuple[str, str]], asked: DataSpec, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(given_rows, asked, 1)
