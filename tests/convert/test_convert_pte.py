"""ExecuTorch files: what they compute, in the converter's hands and in the device's runtime."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("executorch")

from edgekit import convert
from edgekit.agent.runtimes import executorch, executorch_library, loader
from edgekit.convert import parity
from edgekit.convert.job import Converted
from edgekit.data.samples import Samples
from edgekit.errors import DeviceError
from edgekit.spec.quantize import Calibration
from edgekit.spec.scheme import FORMAT_SCHEMES

pytestmark = [pytest.mark.torch, pytest.mark.slow]

LENGTHS = (8, 16)
TEXTS = ["a", "sun", "never used dogs", "cat run b x a sunny rains"]


@pytest.fixture(scope="module", params=FORMAT_SCHEMES["pte"])
def written(request: pytest.FixtureRequest, tiny_checkpoint: Path, words: Samples, tmp_path_factory) -> Converted:  # type: ignore[no-untyped-def]
    return _written(tiny_checkpoint, words, request.param, tmp_path_factory.mktemp("pte") / f"{request.param}.pte")


def _written(checkpoint: Path, words: Samples, scheme: str, out: Path) -> Converted:
    return convert.convert(
        checkpoint,
        format="pte",
        scheme=scheme,
        lengths=LENGTHS,
        samples=words,
        calibration=Calibration(),
        out=out,
        seed=1,
    )


def test_it_is_the_module_at_every_length(written: Converted, tiny_checkpoint: Path) -> None:
    assert written.dynamic
    scheme = written.file.stem
    held = parity.check(written, format="pte", scheme=scheme, checkpoint=tiny_checkpoint, texts=TEXTS, lengths=LENGTHS)
    assert held.min_cosine >= (0.99999 if scheme == "w32_a32_float" else 0.99)


def test_products_go_to_xnnpack_and_their_weights_are_what_the_scheme_says(written: Converted) -> None:
    dynamic = written.file.stem == "w8_a32_dynamic"
    found = {(one.operator, one.precision) for one in written.realised.operators}
    assert ("XNNPACK", "int8-dynamic" if dynamic else "float32") in found
    assert ("int8" in written.realised.weight_bytes) == dynamic
    assert bool(written.realised.fallbacks) == dynamic


def test_the_devices_runtime_answers_the_same(written: Converted) -> None:
    runner = loader("pte")(str(written.file), 1)
    for ids in ([3], [3, 40, 4], [3, 40, 61, 7, 9, 4]):
        given = np.array([ids], np.int32)
        (expected,) = parity.RUNNERS["pte"](written.file, [{"input_ids": given, "attention_mask": np.ones_like(given)}])
        np.testing.assert_allclose(runner.run(len(ids), ids, [1] * len(ids)), expected[0], atol=1e-5)


def test_the_devices_runtime_takes_no_torch_along(written: Converted) -> None:
    code = (
        "import json, sys; from edgekit.agent.runtimes import loader;"
        f"runner = loader('pte')({str(written.file)!r}, 2);"
        "answer = list(runner.run(3, [3, 40, 4], [1] * 3));"
        "print(json.dumps([answer, sorted({one.split('.')[0] for one in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    answer, modules = json.loads(done.stdout)
    assert not {"torch", "executorch"} & set(modules)
    assert "numpy" in modules
    np.testing.assert_allclose(answer, loader("pte")(str(written.file), 1).run(3, [3, 40, 4], [1] * 3), atol=1e-4)


def test_files_come_and_go_without_a_trace(written: Converted) -> None:
    """A search loads hundreds into one process."""
    load, sizes = loader("pte"), []
    for _ in range(40):
        load(str(written.file), 1).run(1, [3], [1])
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]))
    assert sizes[-1] - sizes[9] < 512, "pages"


def test_a_release_with_other_symbols_or_other_tensors_is_refused_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = executorch._folder()
    assert folder is not None
    monkeypatch.setitem(executorch_library._SYMBOLS, "execute", "_ZN10executorch7runtime6Method7executeEi")
    with pytest.raises(DeviceError, match="cannot be called without torch"):
        executorch_library.Library(folder)
    monkeypatch.undo()
    moved = [*executorch_library._Tensor._fields_[4:], *executorch_library._Tensor._fields_[:4]]
    other = type("_Tensor", (ctypes.Structure,), {"_fields_": moved})
    value = {"_fields_": [("tensor", ctypes.POINTER(other)), ("tag", ctypes.c_uint32)]}
    monkeypatch.setattr(executorch_library, "_Tensor", other)
    monkeypatch.setattr(executorch_library, "_Value", type("_Value", (ctypes.Structure,), value))
    with pytest.raises(DeviceError, match="cannot be called without torch"):
        executorch_library.Library(folder)


def test_equal_inputs_give_equal_bytes(tiny_checkpoint: Path, words: Samples, tmp_path: Path) -> None:
    first, second = (
        _written(tiny_checkpoint, words, "w8_a32_dynamic", tmp_path / f"{n}.pte").file.read_bytes() for n in range(2)
    )
    assert first == second


def test_a_damaged_file_and_a_text_that_is_too_long_are_told(written: Converted, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.pte"
    damaged.write_bytes(b"no program at all" * 100)
    with pytest.raises(DeviceError, match="cannot load this file"):
        loader("pte")(str(damaged), 1)
    runner = loader("pte")(str(written.file), 1)
    with pytest.raises(DeviceError, match="cannot run this file"):
        runner.run(17, [2] * 17, [1] * 17)
