from __future__ import annotations

import random
from pathlib import Path

import pytest

from edgekit.data.samples import Sample, Samples

LENGTHS = (8, 16)


@pytest.fixture(scope="session")
def words() -> Samples:
    """Short texts of the tiny vocabulary, some of which overflow the first bucket: 64 train, 16 of the others."""
    draw = random.Random(2)
    known = ("cat", "dogs", "sun", "sunny", "rains", "run", "a", "b", "x")

    def part(count: int) -> list[Sample]:
        return [Sample(" ".join(draw.choices(known, k=draw.randint(1, 9))), n % 3) for n in range(count)]

    return Samples(Path("unused"), ("animal", "weather", "motion"), "0" * 64, part(64), part(16), part(16))


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT with a random classifier of three classes, one head and some neurons cut from its second layer."""
    torch = pytest.importorskip("torch")
    from edgekit.models import checkpoint
    from edgekit.models.structure import Layer

    loaded = checkpoint.load(tiny_bert, ["animal", "weather", "motion"])
    checkpoint.shape(loaded.family, loaded.module, [Layer(heads=4, ffn=64), Layer(heads=3, ffn=40)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for name, one in loaded.module.named_parameters():
            if "LayerNorm" not in name:
                torch.nn.init.normal_(one, std=0.2)
    out = tmp_path_factory.mktemp("checkpoint") / "tiny"
    checkpoint.save(loaded, out)
    return out


@pytest.fixture(scope="session")
def tiny_float(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint as float TFLite in both buckets."""
    pytest.importorskip("litert_torch")
    from edgekit.convert import module, tflite

    out = tmp_path_factory.mktemp("float") / "model.tflite"
    tflite.export(module.load(tiny_checkpoint, LENGTHS), LENGTHS, out)
    return out
