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


@pytest.fixture(scope="session")
def gpt2(tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, 512 positions, weights wide enough that its greedy text wanders."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from decoder_kit import CONTEXT

    from edgekit import compress

    out = tmp_path_factory.mktemp("gpt2")
    config = transformers.AutoConfig.from_pretrained(tiny_models_of["gpt2"])
    config.n_positions, config.n_layer, config.initializer_range = CONTEXT, 2, 0.3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        transformers.GPT2LMHeadModel(config).save_pretrained(out / "plain")
    (out / "plain" / "tokenizer.json").write_bytes((tiny_models_of["gpt2"] / "tokenizer.json").read_bytes())
    compress.adopt(out / "plain", out / "model")
    return out / "model"


@pytest.fixture(scope="session")
def recurrent(tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Transformer-XL of two layers."""
    from edgekit.models import checkpoint as checkpoints

    out = tmp_path_factory.mktemp("recurrent") / "model"
    loaded = checkpoints.load(tiny_models_of["transformer-xl"], task="language")
    loaded.family.set_layers(loaded.module, list(loaded.family.layers(loaded.module))[:2])
    loaded.teacher_layers = (0, 1)
    checkpoints.save(loaded, out)
    return out
