"""The same work and the same answers, in this process and on a local Ray."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from edgekit.errors import UsageError
from edgekit.exploration.engines import Engine, Local, Ray


def squares() -> Callable[[int], int]:
    # made in a function, so that it travels to Ray's workers whole: they cannot import this file
    def square(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number * number

    return square


def answers(engine: Engine[int, int]) -> list[tuple[int, int]]:
    for number in range(4):
        engine.submit(number)
    return sorted(engine.collect() for _ in range(4))


def check(make: Callable[[], Engine[int, int]]) -> None:
    engine = make()
    try:
        assert answers(engine) == [(0, 0), (1, 1), (2, 4), (3, 9)]
        engine.submit(5)
        with pytest.raises(ValueError, match="five"):
            engine.collect()
        engine.submit(6)
        assert engine.collect() == (6, 36), "one that failed takes nothing with it"
    finally:
        engine.close()


def test_this_process_answers_one_after_the_other() -> None:
    check(lambda: Local(squares()))


@pytest.mark.slow
def test_a_local_ray_answers_the_same() -> None:
    pytest.importorskip("ray")
    check(lambda: Ray(squares()))


@pytest.mark.slow
def test_one_worker_computes_with_this_processs_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")

    def threads(_: int) -> str | None:
        return os.environ.get("OMP_NUM_THREADS")

    engine = Ray(threads)
    try:
        engine.submit(0)
        assert engine.collect() == (0, "3")
    finally:
        engine.close()


@pytest.mark.slow
def test_more_workers_than_cpus_are_refused() -> None:
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match="fewer CPUs than workers"):
        Ray(squares(), workers=10_000)
