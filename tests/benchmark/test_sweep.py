"""Which ways are tried on a board, and which is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.benchmark import sweep
from edgekit.errors import DeviceError, SpecError
from edgekit.spec.setting import Setting, Tried
from edgekit.spec.target import Facts

FACTS = Facts("arm64", "aarch64", (), 4, "", "", "3.11", "2.36", 1, 1, 1, 1, 0.0, "/")


def _ways(cores: int, clocks: tuple[int, ...] = ()) -> list[tuple[int, tuple[int, ...]]]:
    return [(one.threads, one.cores) for one in sweep.settings(replace(FACTS, cores=cores, clocks_mhz=clocks))]


def test_threads_double_up_to_all_cores() -> None:
    assert _ways(1) == [(1, ())]
    assert _ways(4) == [(1, ()), (2, ()), (4, ())]
    assert _ways(6) == [(1, ()), (2, ()), (4, ()), (6, ())]


def test_quicker_cores_are_tried_by_themselves() -> None:
    assert _ways(6, (1800, 1800, 1800, 1800, 2400, 2400))[-2:] == [(1, (4, 5)), (2, (4, 5))]
    assert _ways(4, (1500, 1500, 1500, 1500)) == _ways(4)


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        ({1: 10.0, 2: 6.0, 4: 4.0}, 4),
        ({1: 10.0, 2: 4.1, 4: 4.0}, 2),  # two more threads for 2 % are not worth it
        ({1: 4.0, 2: 4.1, 4: 9.0}, 1),
    ],
)
def test_the_quickest_is_taken_unless_fewer_threads_nearly_do(times: dict[int, float], taken: int) -> None:
    assert sweep.choose([Tried(Setting(one), ms) for one, ms in times.items()]) == Setting(taken)


def test_what_failed_is_not_taken() -> None:
    assert sweep.choose([Tried(Setting(1), 9.0), Tried(Setting(2), failure="SIGSEGV")]) == Setting(1)
    with pytest.raises(DeviceError, match="ran in no way") as refused:
        sweep.choose([Tried(Setting(1), failure="SIGILL"), Tried(Setting(2), failure="SIGILL")])
    assert refused.value.given == "SIGILL"


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0.01, 1e4)), min_size=1, max_size=12))
def test_the_choice_is_within_its_worth_of_the_quickest(rows: list[tuple[int, float]]) -> None:
    tried = [Tried(Setting(threads, (number,)), ms) for number, (threads, ms) in enumerate(rows)]
    chosen = sweep.choose(tried)
    (mine,) = [one.ms for one in tried if one.setting == chosen]
    least = min(ms for _, ms in rows)
    assert mine is not None
    assert mine <= least * sweep.WORTH
    assert all(threads >= chosen.threads for threads, ms in rows if ms <= least * sweep.WORTH)


@pytest.mark.parametrize("bad", [{"threads": 0}, {"threads": 65}, {"cores": (1, 1)}, {"cores": (-1,)}])
def test_a_setting_that_cannot_be_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        Setting(**bad)  # type: ignore[arg-type]
