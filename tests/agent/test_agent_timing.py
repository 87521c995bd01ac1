"""Bare invocations, timed for latency tables: every model at every length, in one child."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from edgekit.agent import tasks, work
from edgekit.errors import DeviceError
from edgekit.spec import codec, wire
from edgekit.spec.manifest import Blob


class Fake:
    calls: ClassVar[list[tuple[str, int, int]]] = []

    def __init__(self, path: str, threads: int) -> None:
        self.path, self.threads = path, threads

    def run(self, length: int, ids: list[int], mask: list[int]) -> list[float]:
        assert len(ids) == len(mask) == length
        assert set(mask) == {1}, "full of tokens: padding would be skipped by some models"
        Fake.calls.append((self.path, length, self.threads))
        return [0.0]


def test_each_model_is_timed_at_each_length_after_its_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake.calls = []
    monkeypatch.setattr(work, "loader", lambda format: Fake)
    told: list[float | None] = []
    task = tasks.Bare("tflite", ("a", "b"), (8, 16), threads=2, calls=5, warmup=2)
    found = work.bare(task, lambda message, done=None: told.append(done))
    assert [(one.model, one.length, len(one.ms)) for one in found.times] == [
        ("a", 8, 5),
        ("a", 16, 5),
        ("b", 8, 5),
        ("b", 16, 5),
    ]
    assert all(value >= 0 for one in found.times for value in one.ms)
    assert len(Fake.calls) == 4 * 7
    assert {threads for _, _, threads in Fake.calls} == {2}
    assert told == [0.25, 0.5, 0.75, 1.0]


def test_the_request_and_its_answer_pass_the_wire() -> None:
    request = wire.TimeSignatures("tflite", (Blob("a" * 64, 3),), (8, 16), "", threads=4)
    assert codec.loads(wire.TimeSignatures, codec.dumps(request)) == request
    answer = wire.SignatureTimes((wire.Signature("a" * 64, 8, (1.0, 2.0)),), ("throttled: capped",))
    assert codec.loads(wire.SignatureTimes, codec.dumps(answer)) == answer


def test_a_model_the_store_lacks_is_refused_before_anything_starts(tmp_path: Path) -> None:
    from edgekit.agent import measure

    request = wire.TimeSignatures("tflite", (Blob("a" * 64, 3),), (8,), "")
    with pytest.raises(DeviceError):
        measure.signatures(tmp_path, request, None)
