from __future__ import annotations

from datetime import datetime, timedelta, timezone

import bench_kit as kit
import pytest
from test_bench_plan import BLOB, manifest

from edgekit.benchmark import plan
from edgekit.benchmark.run import run
from edgekit.errors import DeviceError, TransportError, UsageError
from edgekit.spec.device import Device, Emulated
from edgekit.spec.result import Result, Run
from edgekit.spec.wire import Measure

DEVICE = Device("board", "rpi4", "127.0.0.1", emulated=Emulated("/run/board", 1, "counted"))


def benchmark(measure, **changed: object) -> Result:
    arguments: dict[str, object] = {
        "bundle": "ab" * 32,
        "device": DEVICE,
        "facts": kit.FACTS,
        "runtimes": {"tflite": "r" * 64},
        "measure": measure,
        "truth": (0,) * 200,
        "host_labels": (1,) * 200,
    }
    jobs = changed.pop("jobs", plan.jobs(manifest(), clock="counted"))
    return run(jobs, manifest(), **{**arguments, **changed})


def answer(request: Measure) -> Run:
    return Run(request.job, kit.measured(20.0, 40.0))


def test_every_job_is_asked_for_in_full() -> None:
    asked: list[Measure] = []

    def measure(request: Measure) -> Run:
        asked.append(request)
        return answer(request)

    told: list[tuple[str, float | None]] = []
    found = benchmark(measure, report=lambda message, fraction=None: told.append((message, fraction)))
    assert [one.job for one in asked] == list(plan.jobs(manifest(), clock="counted"))
    assert asked[1].artifact == manifest().optimized
    assert {(one.samples, one.runtime, one.labels) for one in asked} == {(BLOB, "r" * 64, 2)}
    assert [one.job for one in found.runs] == [one.job for one in asked]
    assert (found.clock, found.emulated, len(found.truth), len(found.host_labels)) == ("counted", True, 64, 64)
    fractions = [one for _, one in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_a_job_that_dies_is_kept_and_the_others_go_on() -> None:
    def measure(request: Measure) -> Run:
        if request.job.solution == "baseline":
            raise DeviceError("the runtime died of SIGSEGV")
        return answer(request)

    found = benchmark(measure)
    assert [one.failure for one in found.runs] == ["the runtime died of SIGSEGV", None, None]


def test_a_lost_connection_ends_it() -> None:
    def measure(request: Measure) -> Run:
        raise TransportError("gone")

    with pytest.raises(TransportError):
        benchmark(measure)


def test_too_few_samples_and_a_missing_runtime_are_told_before_anything_runs() -> None:
    def measure(request: Measure) -> Run:
        raise AssertionError("must not be asked")

    with pytest.raises(UsageError, match="more samples than the bundle holds") as caught:
        benchmark(measure, truth=(0,) * 63)
    assert caught.value.allowed == "1 to 63"
    with pytest.raises(UsageError, match="no runtime"):
        benchmark(measure, runtimes={"ptl": "r"})


def test_the_time_is_utc_whatever_the_zone() -> None:
    noon = datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone(timedelta(hours=2)))
    assert benchmark(answer, created=noon).created == "2026-11-22T10:00:00Z"


def test_a_board_of_wood_runs_on_a_wall_clock() -> None:
    import dataclasses

    facts = dataclasses.replace(kit.FACTS, counted_clock=False)
    found = benchmark(answer, device=dataclasses.replace(DEVICE, emulated=None), facts=facts)
    assert (found.clock, found.emulated) == ("wall", False)
