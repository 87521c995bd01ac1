from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.structure import Factor, Layer, Structure  # noqa: E402

pytestmark = pytest.mark.torch
IDS = torch.tensor([[3, 58, 59, 4], [3, 60, 4, 0]])
MASK = (IDS != 0).long()


def logits(loaded: checkpoint.Checkpoint) -> torch.Tensor:
    with torch.inference_mode():
        return loaded.module(IDS, MASK).logits


def uneven(tiny_bert: Path) -> checkpoint.Checkpoint:
    """Layers of different heads and widths, with weights of their own."""
    loaded = checkpoint.load(tiny_bert, ["a", "b", "c"])
    checkpoint.shape(loaded.family, loaded.module, [Layer(heads=1, ffn=16), Layer(heads=3, ffn=40)])
    torch.manual_seed(5)
    for one in loaded.module.parameters():
        torch.nn.init.normal_(one, std=0.3)
    return loaded


def test_a_plain_folder_gets_a_classifier_for_the_labels(tiny_bert: Path) -> None:
    loaded = checkpoint.load(tiny_bert, ["a", "b", "c"])
    assert logits(loaded).shape == (2, 3)
    assert loaded.structure == Structure(
        "bert",
        ("a", "b", "c"),
        (Layer(4, 64), Layer(4, 64)),
        head_size=8,
        hidden=32,
        vocabulary=68,
        teacher_layers=(0, 1),
    )


def test_an_uneven_model_comes_back_to_the_bit(tiny_bert: Path, tmp_path: Path) -> None:
    loaded = uneven(tiny_bert)
    checkpoint.save(loaded, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert again.structure == loaded.structure == checkpoint.read_structure(tmp_path / "out")
    assert torch.equal(logits(again), logits(loaded))
    assert again.parameters == sum(one.numel() for one in loaded.module.parameters())


def test_saving_twice_gives_the_same_bytes(tiny_bert: Path, tmp_path: Path) -> None:
    loaded = uneven(tiny_bert)
    for name in ("one", "two"):
        checkpoint.save(loaded, tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["one", "two"]


def test_an_even_model_is_a_plain_folder_too(tiny_bert: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    loaded = checkpoint.load(tiny_bert, ["a", "b"])
    checkpoint.shape(loaded.family, loaded.module, [Layer(heads=4, ffn=24)] * 2)
    for one in loaded.module.parameters():
        torch.nn.init.normal_(one, std=0.3)
    checkpoint.save(loaded, tmp_path / "out")
    module = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert module.config.id2label == {0: "a", 1: "b"}
    torch.testing.assert_close(module(IDS, MASK).logits, logits(loaded))


def test_the_tokenizer_is_saved_without_padding(tiny_bert: Path, tmp_path: Path) -> None:
    checkpoint.save(checkpoint.load(tiny_bert), tmp_path / "out")
    saved = json.loads((tmp_path / "out" / "tokenizer.json").read_text())
    assert saved["padding"] is None
    assert saved["model"] == json.loads((tiny_bert / "tokenizer.json").read_text())["model"]


def test_macs_count_what_the_layers_do() -> None:
    """Each product of the exported graph, one by one."""
    structure = Structure("bert", ("a",), (Layer(12, 1536), Layer(4, 256)), 32, 320, 30522, (0, 5))
    length, hidden = 16, 320
    first = length * (4 * hidden * 12 * 32 + 2 * hidden * 1536) + 2 * length * length * 12 * 32
    query, keys, values, output = (hidden * 4 * 32,) * 4
    scores, means = 4 * length * hidden, 4 * length * hidden
    last = query + keys + scores + means + values + output + 2 * hidden * 256
    assert structure.macs(length) == first + last


def test_macs_count_factors() -> None:
    layers = (Layer(12, 1536), Layer(12, 1536, weights=0), Layer(12, 1536))
    plain = Structure("bert", ("a",), layers, 32, 384, 30522, (0, 1, 2))
    factors = (
        Factor("bert.embeddings.word_embeddings", 64),
        Factor("bert.encoder.layer.0.intermediate.dense", 128),
        Factor("bert.encoder.layer.2.attention.output.dense", 96),
        Factor("bert.encoder.layer.2.attention.self.key", 96),
        Factor("bert.pooler.dense", 96),
    )
    # the keys of the last layer are not written out: their projection is applied whole
    gain = 2 * 10 * (384 * 1536 - 128 * (384 + 1536)) + (384 * 384 - 96 * 2 * 384)
    assert plain.macs(10) - replace(plain, factors=factors).macs(10) == gain - 10 * 64 * 384


def test_other_labels_are_refused(tiny_bert: Path, tmp_path: Path) -> None:
    checkpoint.save(checkpoint.load(tiny_bert, ["a", "b"]), tmp_path / "out")
    with pytest.raises(BuildError, match="other labels"):
        checkpoint.load(tmp_path / "out", ["a", "c"])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(tiny_bert: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(tiny_bert, tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    with pytest.raises(BuildError, match=name):
        checkpoint.load(tmp_path / "model")


def test_a_tokenizer_with_tokens_that_the_model_does_not_know_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    """Many a folder has a padding token that was added to the tokenizer alone."""
    from tokenizers import Tokenizer

    shutil.copytree(tiny_bert, tmp_path / "model")
    file = tmp_path / "model" / "tokenizer.json"
    longer = Tokenizer.from_file(str(file))
    longer.add_special_tokens(["[MORE]", "[PADDING]"])
    longer.save(str(file))
    with pytest.raises(BuildError, match="no embedding") as caught:
        checkpoint.load(tmp_path / "model")
    assert "[PADDING]" in str(caught.value.given)
    file.write_text("{}")
    with pytest.raises(BuildError, match="tokenizer cannot be read"):
        checkpoint.load(tmp_path / "model")


def test_damaged_weights_are_refused(tiny_bert: Path, tmp_path: Path) -> None:
    checkpoint.save(checkpoint.load(tiny_bert), tmp_path / "out")
    file = tmp_path / "out" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BuildError, match="cannot be loaded"):
        checkpoint.load(tmp_path / "out")


def test_a_structure_that_does_not_fit_the_weights_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    checkpoint.save(checkpoint.load(tiny_bert), tmp_path / "out")
    file = tmp_path / "out" / "edgekit.json"
    file.write_text(file.read_text().replace('"ffn": 64', '"ffn": 56', 1))
    with pytest.raises(BuildError, match="cannot be loaded"):
        checkpoint.load(tmp_path / "out")
