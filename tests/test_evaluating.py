"""What a measurement makes of a candidate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgekit import answering, evaluating
from edgekit.errors import GateMissed
from edgekit.evaluating import Made, described
from edgekit.home import Home
from edgekit.judge import judge
from edgekit.spec.answers import Answers
from edgekit.spec.manifest import Artifact, Blob
from edgekit.spec.recipe import Gates
from edgekit.spec.result import Job, Measured, Run

BLOB = Blob("0" * 64, 1000)
ARTIFACT = Artifact("tflite-w8_a8_static", "optimized", "tflite", "w8_a8_static", BLOB, BLOB, (), accuracy=90.0)


def run(*invalid: str) -> Run:
    measured = Measured(1.0, 1.0, 1.0, (2.0, 3.0, 4.0), (1.0, 1.0, 1.0), (0, 1, 0), 10, 10, 30, 30)
    return Run(Job("x", "x"), measured, None, invalid)


def made(given: Run) -> Made:
    return Made(Path("model"), Path("tokenizer"), ARTIFACT, given)


def test_a_measured_candidate() -> None:
    one = made(run())
    found = described(one, one, one.run, "roof-1")
    assert (found.latency_ms, found.peak_memory, found.failure) == (3.0, 20, None)


def test_a_host_that_swaps_still_gives_its_answers() -> None:
    one = made(run("swapping: 3 pages read back"))
    found = described(one, one, one.run, "host")
    assert (found.failure, found.accuracy, found.latency_ms) == (None, 90.0, None)


def test_figures_of_a_throttled_board_choose_nothing() -> None:
    one = made(run("throttled: under-voltage"))
    found = described(one, one, one.run, "roof-1")
    assert found.failure == "on roof-1: its figures are no use: throttled: under-voltage"
    with pytest.raises(GateMissed, match="under-voltage"):
        judge([found], Gates())


@pytest.mark.parametrize(
    ("form", "package"),
    [("tflite", "ai-edge-litert"), ("ptl", "torch"), ("onnx", "onnxruntime"), ("pte", "executorch")],
)
def test_another_release_of_its_runtime_answers_anew(
    form: Any, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    class Stages:
        def run(self, name: str, inputs: dict[str, Any], *_: object) -> Path:
            asked.append(inputs)
            raise GateMissed("enough")

    for module in (evaluating, answering):
        monkeypatch.setattr(module, "versions", lambda *names: dict.fromkeys(names, "1"))
    one = Made(Path("model"), Path("tokenizer"), replace(ARTIFACT, format=form), run())
    samples, stages = SimpleNamespace(digest="0"), Stages()
    with pytest.raises(GateMissed):
        evaluating.answered(Home(tmp_path), stages, one.artifact, one, samples)  # type: ignore[arg-type]
    with pytest.raises(GateMissed):
        answering.sureness(one, Answers(), samples, stages)  # type: ignore[arg-type]
    assert [package in inputs["versions"] for inputs in asked] == [True, True]
