"""The Pareto front and its knee."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgekit.exploration.front import dominates, front, knee

COSTS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=30)


@given(COSTS)
def test_no_member_is_beaten_and_every_other_is_beaten_or_equal(costs: list[tuple[int, int]]) -> None:
    members = front(costs)
    assert members
    for place, one in enumerate(costs):
        beaten = any(dominates(other, one) for other in costs)
        if place in members:
            assert not beaten
        else:
            assert beaten or any(costs[member] == one for member in members)


@given(COSTS)
def test_the_knee_is_a_member_of_the_front_between_its_ends(costs: list[tuple[int, int]]) -> None:
    found = knee(costs)
    if found is not None:
        members = front(costs)
        assert found in members
        assert found not in (members[0], members[-1])


def test_the_knee_is_where_the_front_bends() -> None:
    bent = [(0.0, 10.0), (1.0, 2.0), (5.0, 1.0), (10.0, 0.0), (6.0, 6.0)]
    assert knee(bent) == 1
    assert front(bent) == (0, 1, 2, 3)


def test_a_straight_or_hollow_front_and_one_of_two_have_no_knee() -> None:
    assert knee([(0.0, 1.0), (1.0, 0.0)]) is None
    assert knee([(0.0, 2.0), (1.0, 1.0), (2.0, 0.0)]) is None
    assert knee([(0.0, 10.0), (9.0, 9.0), (10.0, 0.0)]) is None


def test_units_do_not_move_the_knee() -> None:
    costs = [(0.0, 10.0), (1.0, 2.0), (5.0, 1.0), (10.0, 0.0)]
    assert knee([(1000 * a, b / 7) for a, b in costs]) == knee(costs)
