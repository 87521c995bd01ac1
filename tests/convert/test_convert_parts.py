"""What layers that share, factors and hashed tables become in a .tflite file."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

import torch

from edgekit import convert
from edgekit.convert import flatbuffer, parity
from edgekit.data.samples import Samples
from edgekit.models import checkpoint, parts
from edgekit.spec.quantize import Calibration

pytestmark = [pytest.mark.torch, pytest.mark.slow]
LENGTHS = (8, 16)


@pytest.fixture(scope="module")
def special(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of one set of weights, a factored feed-forward projection, a hashed word embedding."""
    loaded = checkpoint.load(tiny_bert, ["animal", "weather", "motion"])
    parts.share(loaded.module, loaded.family, [0, 0])
    up = "bert.encoder.layer.0.intermediate.dense"
    parts.put(loaded.module, up, parts.factored(parts.part(loaded.module, up), 12))
    parts.put(loaded.module, "bert.embeddings.word_embeddings", parts.HashedEmbedding(68, 32, 40, 2, 0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for name, one in loaded.module.named_parameters():
            if "LayerNorm" not in name:
                torch.nn.init.normal_(one, std=0.3)
    out = tmp_path_factory.mktemp("special") / "checkpoint"
    checkpoint.save(loaded, out)
    return out


def weights(file: Path) -> dict[tuple[str, tuple[int, ...]], int]:
    """How many different buffers hold a matrix, by type and shape."""
    found = {
        (one.dtype, one.shape, one.buffer)
        for graph in flatbuffer.read(file).subgraphs
        for one in graph.tensors
        if one.constant and len(one.shape) == 2 and one.dtype != "int32"
    }
    kinds = [(dtype, shape) for dtype, shape, _ in found]
    return {kind: kinds.count(kind) for kind in kinds}


def test_they_are_stored_once_and_keep_parity_also_in_int8(special: Path, words: Samples, tmp_path: Path) -> None:
    source = tmp_path / "float.tflite"
    for scheme, dtype in (("w32_a32_float", "float32"), ("w8_a32_dynamic", "int8"), ("w8_a8_static", "int8")):
        out = source if scheme == "w32_a32_float" else tmp_path / f"{scheme}.tflite"
        converted = convert.convert(
            special,
            format="tflite",
            scheme=scheme,
            lengths=LENGTHS,
            samples=words,
            calibration=Calibration(samples=32),
            out=out,
            seed=7,
            float_file=None if out == source else source,
        )
        held = parity.check(
            converted,
            format="tflite",
            scheme=scheme,
            checkpoint=special,
            texts=[one.text for one in words.test],
            lengths=LENGTHS,
        )
        assert held.min_cosine >= held.required_cosine
        found = weights(out)
        # query, key, value and output of one layer, and the pooler; the last layer has its keys and values by head
        assert found[dtype, (32, 32)] == 5
        # both factors of the first projection; the second is whole
        assert found[dtype, (12, 32)] == found[dtype, (64, 12)] == found[dtype, (32, 64)] == 1
        assert (dtype, (64, 32)) not in found
        # the hashed table
        assert found[dtype, (40, 32)] == 1
