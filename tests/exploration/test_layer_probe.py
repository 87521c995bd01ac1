"""What is measured for the table is what a candidate's file will hold."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

from edgekit.convert import flatbuffer, names
from edgekit.convert.tokens import tokenize
from edgekit.data.samples import Sample, Samples
from edgekit.exploration import probe
from edgekit.models import checkpoint
from edgekit.spec.quantize import Convert

pytestmark = [pytest.mark.torch, pytest.mark.slow]


TEXTS = [Sample(text, n % 2) for n, text in enumerate(("a cat", "sun rains", "dogs run", "cat"))]
SAMPLES = Samples(Path("unused"), ("a", "b"), "0" * 64, TEXTS, TEXTS, TEXTS)


def test_what_is_not_the_models_is_measured_with_the_candidates_own_tokenizer(tiny_bert: Path, tmp_path: Path) -> None:
    """A vocabulary of a few texts splits others into letters: more tokens, more time."""
    source = tmp_path / "source"
    checkpoint.save(checkpoint.load(tiny_bert, ["a", "b"]), source)
    shape = probe.read(source)[1][-1]
    for name, whole in (("few", False), ("whole", True)):
        probe.write(source, shape, 1, SAMPLES, tmp_path / name, lengths=(8,), whole_vocabulary=whole)
        assert len(probe.read(tmp_path / name)[1]) == 1
    texts = ["never used rain", "dogs run"]
    true, few, whole = (tokenize(tmp_path / name, texts, 32) for name in ("source", "few", "whole"))
    assert whole == true
    assert len(few[0]) > len(true[0])


@pytest.mark.parametrize("block", [0, 32])
def test_a_layer_is_measured_with_the_blocks_its_weights_will_have(block: int, tiny_bert: Path, tmp_path: Path) -> None:
    """Only rows longer than a block are cut: those of the 64 neurons."""
    checkpoint.save(checkpoint.load(tiny_bert, ["a", "b"]), tmp_path / "one")
    made = probe.export(tmp_path / "one", "tflite", ["w4_a32_dynamic"], SAMPLES, Convert(), (8,), block)
    model = flatbuffer.read(made["w4_a32_dynamic"].file)
    tensors = {one.name: one for graph in model.subgraphs for one in graph.tensors}
    found = {one.weight: tensors[one.weight] for one in names.products(model)["len8"]}
    cut = {name for name, one in found.items() if not one.scales}
    assert cut == ({name for name, one in found.items() if one.shape[1] > block} if block else set())
    assert len(found) > len(cut)
