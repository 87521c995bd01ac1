"""Every family goes through every format; what comes out answers as the module does."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")

from edgekit import convert  # noqa: E402
from edgekit.convert import parity  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.structure import Layer  # noqa: E402
from edgekit.spec.quantize import Calibration  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]
LENGTHS = (16,)


def test_every_family_keeps_parity_in_every_format(tiny_family: Path, words: Samples, tmp_path: Path) -> None:
    loaded = checkpoint.load(tiny_family, ["animal", "weather", "motion"])
    loaded.family.set_layers(loaded.module, loaded.family.layers(loaded.module)[:2])
    loaded.teacher_layers = (0, 1)
    shapes = [Layer(3, 40)] * 2 if tiny_family.name == "albert" else [Layer(3, 40), Layer(2, 24)]
    checkpoint.shape(loaded.family, loaded.module, shapes)
    torch.manual_seed(5)
    for name, one in loaded.module.named_parameters():
        if "norm" not in name.lower() and ".ln_" not in name:
            torch.nn.init.normal_(one, std=0.1)
    checkpoint.save(loaded, tmp_path / "checkpoint")
    texts = [one.text for one in (*words.test, *words.validation)]
    source = None
    for form, scheme in (
        ("tflite", "w32_a32_float"),
        ("tflite", "w8_a8_static"),
        ("ptl", "w8_a32_dynamic"),
    ):
        written = convert.convert(
            tmp_path / "checkpoint",
            format=form,
            scheme=scheme,
            lengths=LENGTHS,
            samples=words,
            calibration=Calibration(samples=32),
            out=tmp_path / f"{scheme}.{form}",
            seed=7,
            float_file=source,
        )
        source = source or written.file
        held = parity.check(
            written, format=form, scheme=scheme, checkpoint=tmp_path / "checkpoint", texts=texts, lengths=LENGTHS
        )
        assert held.min_cosine >= held.required_cosine
        assert written.parameters == loaded.parameters
