"""A latency table measured on an emulated Raspberry Pi 4, whose clock counts: it prices a whole model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_kit import RECIPE, write

from edgekit import load, pipeline
from edgekit.building import Builder
from edgekit.exploration.table import Settings
from edgekit.home import Home
from edgekit.spec.device import Device
from edgekit.tabling import Scale

pytestmark = [pytest.mark.emulated, pytest.mark.torch, pytest.mark.slow]
FINETUNED = RECIPE.partition("  - vocabulary")[0] + "convert: {schemes: [w32_a32_float]}\n"


@pytest.fixture(scope="module")
def board(home: Home) -> Iterator[Device]:
    yield pipeline.device_up("rpi4", clock="counted", home=home)
    assert pipeline.device_down(every=True, home=home) == ("rpi4",)


def test_the_sum_of_measured_layers_is_what_the_whole_model_takes(
    home: Home, board: Device, tiny_bert: Path, tmp_path: Path
) -> None:
    file = write(tmp_path, tiny_bert, FINETUNED)
    asked = load.recipe(file)
    builder = Builder(asked, tmp_path, home)
    samples = builder.samples()
    reference, module = builder.compress(builder.model(samples), samples)
    from edgekit.exploration import probe

    _, shapes = probe.read(module.folder)
    how = Settings("tflite", "w32_a32_float")
    with Scale(home, board, samples, asked.convert) as scale:
        scale.file.unlink(missing_ok=True)
        price = scale.predict(module.folder, shapes, how, asked.data.lengths)
        kept = scale.table
    assert {one.kind for one in kept.entries} == {"inner", "last"}
    assert all(one.ms > 0 for one in kept.entries), "every layer costs something"

    told: list[str] = []
    with Scale(home, board, samples, asked.convert, lambda message, done=None: told.append(message)) as scale:
        assert scale.predict(module.folder, shapes, how, asked.data.lengths) == price
    assert not told, "a table is measured once"

    baseline = builder.baseline(reference, samples)
    (measured,) = builder.priced([baseline], baseline, samples, board)
    assert measured.latency_ms is not None
    assert price == pytest.approx(measured.latency_ms, rel=0.1)
