"""ONNX Runtime on an emulated Raspberry Pi 4: a bundle whose artifact is ONNX answers there as on the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_kit import RECIPE, write

from edgekit import pipeline
from edgekit.home import Home

pytestmark = [pytest.mark.emulated, pytest.mark.torch, pytest.mark.slow]
pytest.importorskip("onnxruntime", reason="needs the 'onnx' extra")
pytest.importorskip("onnxscript", reason="needs the 'onnx' extra")

NAME = "rpi4-onnx"
#: Little training: what is to be seen is that both machines answer alike.
ONNX = (
    RECIPE.split("  - vocabulary")[0]
    + "convert:\n  formats: [onnx]\n  schemes: [w8_a8_static, w8_a32_dynamic]\n  calibration: {samples: 32}\n"
    + "gates: {accuracy_drop: 60}\n"
)


@pytest.fixture(scope="module")
def board(home: Home) -> Iterator[str]:
    yield pipeline.device_up("rpi4", name=NAME, clock="counted", home=home).name
    assert pipeline.device_down(every=True, home=home) == (NAME,)


def test_a_bundle_of_onnx_is_built_deployed_and_answers_as_on_the_host(
    home: Home, board: str, tiny_bert: Path, tmp_path: Path
) -> None:
    built = pipeline.build(write(tmp_path, tiny_bert, ONNX), target="rpi4", device=board, home=home)
    assert {one.name for one in built.candidates} == {"onnx-w8_a8_static", "onnx-w8_a32_dynamic"}
    assert all(one.measured_on == board and one.latency_ms and one.peak_memory for one in built.candidates)
    shipped = built.manifest.optimized
    assert (shipped.format, shipped.dynamic) == ("onnx", True)
    # its health check is the golden cases
    assert pipeline.deploy(built.bundle, device=board, home=home).digest == built.digest
    status = pipeline.status(device=board, home=home)
    assert status.current == built.digest
    assert next(one for one in status.releases if one.current).state == "confirmed"
    answers = pipeline.predict(["sunny abc", "the cats"], device=board, home=home).predictions
    assert [one.bucket for one in answers] == [one.tokens for one in answers], "nothing is padded"
    result = pipeline.bench(device=board, samples=32, home=home).result
    optimized = next(one for one in result.runs if one.job.solution == "optimized")
    assert optimized.measured
    assert optimized.measured.labels == result.host_labels
    assert optimized.measured.padded_tokens == optimized.measured.real_tokens
