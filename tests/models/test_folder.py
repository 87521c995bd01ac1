"""What a model folder says of itself, without torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from edgekit.errors import BuildError
from edgekit.models import folder


def model(path: Path, config: dict[str, object], *weights: str) -> Path:
    header = json.dumps({one: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for one in weights}).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_labels_stand_in_the_order_of_the_logits(tmp_path: Path) -> None:
    names = {"10": "k", "2": "c", **{str(n): "x" for n in (0, 1, *range(3, 10))}}
    found = folder.labels(model(tmp_path, {"id2label": names}, "bert.embeddings", "classifier.weight"))
    assert (found[2], found[10], len(found)) == ("c", "k", 11)


def test_a_base_model_has_no_labels(tmp_path: Path) -> None:
    assert folder.labels(model(tmp_path, {"id2label": {"0": "a", "1": "b"}}, "embeddings.weight")) == ()


def test_the_structure_file_comes_first(tmp_path: Path) -> None:
    (tmp_path / "edgekit.json").write_text('{"labels": ["b", "a"]}')
    assert folder.labels(tmp_path) == ("b", "a")


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", struct.pack("<Q", 2) + b"[1"])
def test_damaged_weights_are_named(tmp_path: Path, content: bytes) -> None:
    model(tmp_path, {}).joinpath("model.safetensors").write_bytes(content)
    with pytest.raises(BuildError, match="no safetensors file"):
        folder.labels(tmp_path)


def test_labels_that_are_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="id2label"):
        folder.labels(model(tmp_path, {"id2label": {"zero": "a"}}, "classifier.weight"))


def test_positions(tmp_path: Path) -> None:
    assert folder.positions(model(tmp_path, {"max_position_embeddings": 512})) == 512
    assert folder.positions(model(tmp_path, {})) is None


@pytest.mark.torch
def test_a_real_folder(tiny_bert: Path, tmp_path: Path) -> None:
    from edgekit.models import checkpoint

    assert folder.labels(tiny_bert) == ()
    assert folder.positions(tiny_bert) == 32
    checkpoint.save(checkpoint.load(tiny_bert, ["x", "y", "z"]), tmp_path / "mine")
    assert folder.labels(tmp_path / "mine") == ("x", "y", "z")
    (tmp_path / "mine" / "edgekit.json").unlink()
    assert folder.labels(tmp_path / "mine") == ("x", "y", "z")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("README.md", "---\nlanguage: en\nlicense: apache-2.0\ntags:\n- x\n---\n# A model", "apache-2.0"),
        ("README.md", "---\nlicense:\n- mit\n---\n", "mit"),
        ("README.md", "# A model\nlicense: not in the front matter\n", folder.UNKNOWN),
        ("METADATA", "Name: x\nLicense-Expression: BSD-3-Clause\n", "BSD-3-Clause"),
        ("METADATA", "Name: x\nLicense: MIT\nClassifier: License :: OSI Approved :: BSD License\n", "MIT"),
        ("METADATA", "Name: x\nClassifier: License :: OSI Approved :: BSD License\n", "BSD License"),
        ("METADATA", "Name: x\n\nLicense: in the description\n", folder.UNKNOWN),
    ],
)
def test_the_licence_that_is_stated(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    assert folder.licence(tmp_path) == said
