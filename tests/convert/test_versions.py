"""Operator versions say what a file uses, and what older runtimes lack is written in operators that they have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("litert_torch")

from ai_edge_litert import schema_py_generated as schema

from edgekit.convert import flatbuffer, lowered, parity, quantize, tflite, versions
from edgekit.convert.job import Job
from edgekit.errors import BuildError
from edgekit.spec.quantize import Calibration, Quantization

pytestmark = pytest.mark.torch

LOWERED = ("w8_a32_weight", "w8_a32_dynamic")


def stated(content: bytes) -> dict[str, list[int]]:
    """Versions by operator, as the file states them."""
    model = schema.Model.GetRootAs(content, 0)
    codes = [schema.OperatorCodeT.InitFromObj(model.OperatorCodes(n)) for n in range(model.OperatorCodesLength())]
    kinds = {flatbuffer.kind_of(one) for one in codes}
    return {kind: sorted(one.version for one in codes if flatbuffer.kind_of(one) == kind) for kind in kinds}


def written(source: Path, scheme: str, **asked: object) -> bytes:
    return quantize.quantize(source, quantize.Plan(scheme, Quantization(**asked)))  # type: ignore[arg-type]


def inputs() -> list[dict[str, np.ndarray]]:
    draw = np.random.default_rng(4)
    texts = [draw.integers(3, 60, (1, length)).astype(np.int32) for length in (8, 8, 16, 16)]
    return [{"input_ids": one, "attention_mask": np.ones_like(one)} for one in texts]


@pytest.mark.parametrize(
    ("scheme", "asked", "expected"),
    [
        ("w16_a32_float", {}, {"DEQUANTIZE": [3], "EMBEDDING_LOOKUP": [1]}),
        ("w8_a32_weight", {}, {"DEQUANTIZE": [5], "EMBEDDING_LOOKUP": [4]}),
        ("w8_a32_dynamic", {}, {"FULLY_CONNECTED": [12], "EMBEDDING_LOOKUP": [4]}),
        ("w8_a32_dynamic", {"weights": "tensor"}, {"FULLY_CONNECTED": [3, 5], "EMBEDDING_LOOKUP": [1]}),
        ("w4_a32_weight", {}, {"DEQUANTIZE": [6], "EMBEDDING_LOOKUP": [4]}),
        ("w4_a32_dynamic", {}, {"FULLY_CONNECTED": [12], "EMBEDDING_LOOKUP": [4]}),
    ],
)
def test_a_file_states_the_least_versions_that_have_what_it_uses(
    scheme: str, asked: dict[str, object], expected: dict[str, list[int]], tiny_float: Path
) -> None:
    found = stated(written(tiny_float, scheme, **asked))
    assert {kind: [one for one in found[kind] if one in given] for kind, given in expected.items()} == {
        kind: [one for one in given if one in found[kind]] for kind, given in expected.items()
    }
    assert {kind: max(found[kind]) for kind in expected} == {kind: max(given) for kind, given in expected.items()}


def test_a_float_file_is_read_by_every_runtime(tiny_float: Path) -> None:
    content = tiny_float.read_bytes()
    assert versions.readers(content) == ("litert", "tflite")
    assert max(stated(content)["FULLY_CONNECTED"]) <= 5


def test_what_the_older_runtime_lacks_is_named(tiny_float: Path) -> None:
    content = written(tiny_float, "w8_a32_dynamic")
    assert versions.lacking(content, "tflite") == ("EMBEDDING_LOOKUP 4", "FULLY_CONNECTED 12")
    assert versions.readers(content) == ("litert",)


@pytest.mark.parametrize("scheme", LOWERED)
def test_lowered_it_is_read_and_answers_the_same(scheme: str, tiny_float: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "before.tflite", tmp_path / "after.tflite"
    before.write_bytes(written(tiny_float, scheme))
    after.write_bytes(lowered.lower(before.read_bytes()))
    assert versions.readers(after.read_bytes()) == ("litert", "tflite")
    kinds = {one.kind for graph in flatbuffer.read(after).subgraphs for one in graph.operators}
    assert "EMBEDDING_LOOKUP" not in kinds
    given, expected = tflite.run(after, inputs()), tflite.run(before, inputs())
    assert parity.compare(given, expected, parity.Bounds(0.9999, 1.0)).min_cosine > 0.9999
    # the very integers, and no second copy of them
    whole = [sum(one.size for one in _weights(file)) for file in (before, after)]
    assert whole[0] == whole[1] > 0
    assert lowered.lower(before.read_bytes()) == after.read_bytes()


def _weights(file: Path) -> list[flatbuffer.Tensor]:
    found = {
        one.buffer: one for graph in flatbuffer.read(file).subgraphs for one in graph.tensors if one.dtype == "int8"
    }
    return [one for one in found.values() if one.constant]


def test_what_has_no_older_form_is_refused_and_leaves_no_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.tflite"
    job = Job(tiny_checkpoint, "w4_a32_weight", (8,), (), Calibration(), out, runtime="tflite")
    with pytest.raises(BuildError, match=r"lacks operators of this file: DEQUANTIZE 6, EMBEDDING_LOOKUP 4"):
        tflite.write(job)
    assert list(tmp_path.iterdir()) == []


def test_a_file_for_the_older_runtime_says_who_reads_it(tiny_checkpoint: Path, tmp_path: Path) -> None:
    job = Job(tiny_checkpoint, "w8_a32_dynamic", (8,), (), Calibration(), tmp_path / "model.tflite", runtime="tflite")
    assert tflite.write(job).runtimes == ("litert", "tflite")
