from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

import numpy as np

from edgekit import convert
from edgekit.convert import parity, torchscript
from edgekit.convert.tokens import padded
from edgekit.data.samples import Samples
from edgekit.spec.quantize import Calibration

pytestmark = pytest.mark.torch
LENGTHS = (8, 16)


def made(folder: Path, samples: Samples, out: Path, scheme: str) -> convert.Converted:
    return convert.convert(
        folder,
        format="ptl",
        scheme=scheme,
        lengths=LENGTHS,
        samples=samples,
        calibration=Calibration(),
        out=out,
        seed=7,
    )


@pytest.mark.parametrize("scheme", ["w32_a32_float", "w8_a32_dynamic"])
def test_one_module_answers_every_length(scheme: str, tiny_checkpoint: Path, words: Samples, tmp_path: Path) -> None:
    converted = made(tiny_checkpoint, words, tmp_path / "model.ptl", scheme)
    texts = [one.text for one in words.test]
    held = parity.check(
        converted, format="ptl", scheme=scheme, checkpoint=tiny_checkpoint, texts=texts, lengths=LENGTHS
    )
    assert held.min_cosine >= held.required_cosine
    # a length that is no bucket and was never traced
    short, odd = torchscript.run(converted.file, [padded([3, 58, 4], 8), padded([3, 58, 4], 11)])
    assert short == pytest.approx(odd, abs=0.05 * float(np.abs(short).max()) if scheme == "w8_a32_dynamic" else 1e-5)
    assert [one.length for one in converted.signatures] == [8, 16]


def test_what_was_realised_is_told(tiny_checkpoint: Path, words: Samples, tmp_path: Path) -> None:
    plain = made(tiny_checkpoint, words, tmp_path / "float.ptl", "w32_a32_float")
    small = made(tiny_checkpoint, words, tmp_path / "int8.ptl", "w8_a32_dynamic")
    counts = {(one.operator, one.precision): one.count for one in plain.realised.operators}
    # pooler, classifier, six products in the first layer; the last has query, output, two of its feed-forward net, and
    # two for each of its three heads
    assert counts["aten::linear", "float32"] == 18
    assert plain.realised.fallbacks == ()
    counts = {(one.operator, one.precision): one.count for one in small.realised.operators}
    assert counts["quantized::linear_dynamic", "int8-dynamic"] == 18
    assert counts["quantized::embedding_byte", "int8-weights"] == 2
    assert ("aten::linear", "float32") not in counts
    assert any("aten::softmax in float32" in one for one in small.realised.fallbacks)
    assert small.realised.weight_bytes["float32"] < plain.realised.weight_bytes["float32"] / 4
    assert small.parameters == plain.parameters


def test_bytes_depend_neither_on_the_process_nor_on_what_it_traced_before(
    tiny_checkpoint: Path, words: Samples, tmp_path: Path
) -> None:
    made(tiny_checkpoint, words, tmp_path / "first.ptl", "w32_a32_float")
    here = made(tiny_checkpoint, words, tmp_path / "here.ptl", "w8_a32_dynamic")
    code = (
        "from pathlib import Path; from edgekit.convert import torchscript; from edgekit.convert.job import Job;"
        "from edgekit.spec.quantize import Calibration;"
        f"torchscript.write(Job(Path({str(tiny_checkpoint)!r}), 'w8_a32_dynamic', (8, 16), (), Calibration(),"
        f" Path({str(tmp_path / 'there.ptl')!r})))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert here.file.read_bytes() == (tmp_path / "there.ptl").read_bytes()


def test_the_hosts_paths_stay_on_the_host(tiny_checkpoint: Path, words: Samples, tmp_path: Path) -> None:
    file = made(tiny_checkpoint, words, tmp_path / "model.ptl", "w32_a32_float").file
    with zipfile.ZipFile(file) as archive:
        everything = b"".join(archive.read(one) for one in archive.namelist())
    assert b"site-packages" not in everything
    assert str(Path(convert.__file__).parent).encode() not in everything


def test_nothing_is_printed(
    tiny_checkpoint: Path, words: Samples, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tiny_checkpoint, words, tmp_path / "model.ptl", "w8_a32_dynamic")
    assert capsys.readouterr() == ("", "")
