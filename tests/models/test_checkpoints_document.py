"""The lines in docs/checkpoints.md load what they say they load."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import fields
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402

from edgekit.models import checkpoint, parts  # noqa: E402
from edgekit.models.structure import Layer, Structure  # noqa: E402
from edgekit.spec import codec  # noqa: E402

pytestmark = pytest.mark.torch
TEXT = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text("utf-8")
IDS = torch.tensor([[3, 58, 59, 4], [3, 60, 4, 0]])
MASK = (IDS != 0).long()


def test_every_field_of_the_structure_is_told() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    names = [one.name for one in fields(Structure)]
    assert list(json.loads(example)) == [name for name in names if name != "hashing"]
    assert codec.decode(Structure, json.loads(example)).pooled == 32
    told = re.findall(r"^\| `(\w+)` \|", TEXT.partition("## The structure file")[2], re.MULTILINE)
    assert told == [name for name in names if name != "schema"]


def test_ten_lines_load_a_checkpoint_without_edgekit(tiny_bert: Path, tmp_path: Path) -> None:
    """Heads, feed-forward and hidden width cut, a factored projection, a shared layer."""
    loaded = checkpoint.load(tiny_bert, ["a", "b", "c"])
    family, module = loaded.family, loaded.module
    family.set_layers(module, [*family.layers(module), family.layers(module)[0]])
    loaded.teacher_layers = (0, 1, 0)
    checkpoint.shape(family, module, [Layer(heads=3, ffn=40), Layer(heads=1, ffn=16), Layer(heads=3, ffn=40)])
    _narrow(loaded, 24)
    name = "bert.encoder.layer.0.intermediate.dense"
    parts.put(module, name, parts.factored(parts.part(module, name), 8))
    torch.manual_seed(5)
    for one in module.parameters():
        torch.nn.init.normal_(one, std=0.3)
    checkpoint.save(loaded, tmp_path / "out")
    structure = checkpoint.read_structure(tmp_path / "out")
    assert (structure.hidden, structure.pooled, len(structure.factors)) == (24, 32, 1)
    assert [one.weights for one in structure.layers] == [None, None, 0]

    (lines,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(lines.splitlines()) <= 14
    scope = {
        "json": json,
        "OrderedDict": OrderedDict,
        "nn": torch.nn,
        "load_file": load_file,
        "AutoConfig": transformers.AutoConfig,
        "AutoModelForSequenceClassification": transformers.AutoModelForSequenceClassification,
        "folder": tmp_path / "out",
    }
    exec(lines, scope)
    with torch.inference_mode():
        given = scope["model"](IDS, MASK).logits
        wanted = checkpoint.load(tmp_path / "out").module(IDS, MASK).logits
    assert torch.equal(given, wanted)


def _narrow(loaded: checkpoint.Checkpoint, width: int) -> None:
    """Uninitialized weights for a stream of ``width`` elements."""
    family, module = loaded.family, loaded.module
    for layer in dict.fromkeys(family.layers(module)):
        attention, both = family.attention(layer), family.feed_forward(layer)
        for one in (attention.output, both.down):
            checkpoint.resize(one, rows=width)
        for one in (attention.query, attention.key, attention.value, both.up):
            checkpoint.resize(one, columns=width)
    checkpoint.resize(family.head(module).dense, columns=width)
    tables = family.embeddings(module)
    for table in (tables.word, tables.position, tables.token_type):
        table.weight, table.embedding_dim = torch.nn.Parameter(torch.empty(len(table.weight), width)), width
    for norm in (one for one in module.modules() if isinstance(one, torch.nn.LayerNorm)):
        norm.normalized_shape = (width,)
        norm.weight, norm.bias = (torch.nn.Parameter(torch.empty(width)) for _ in range(2))
    module.config.hidden_size = width
