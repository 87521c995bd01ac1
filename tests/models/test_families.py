"""Every family's adapter, against transformers' own modules."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordLevel  # noqa: E402

from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint, families, folder  # noqa: E402
from edgekit.models.structure import Layer  # noqa: E402

pytestmark = pytest.mark.torch
IDS = torch.tensor([[5, 30, 31, 17, 6], [5, 32, 6, 7, 8]])
MASK = torch.ones_like(IDS)


def logits(module: object) -> torch.Tensor:
    with torch.inference_mode():
        return module(input_ids=IDS, attention_mask=MASK).logits  # type: ignore[operator,no-any-return]


def random_(loaded: checkpoint.Checkpoint) -> checkpoint.Checkpoint:
    """Weights of its own, after parts were left uninitialized."""
    torch.manual_seed(5)
    for one in loaded.module.parameters():
        torch.nn.init.normal_(one, std=0.2)
    return loaded


def uneven(path: Path) -> checkpoint.Checkpoint:
    loaded = checkpoint.load(path, ["a", "b", "c"])
    layers = [Layer(heads=1, ffn=16), Layer(heads=3, ffn=40), Layer(heads=2, ffn=24)]
    if loaded.family.name == "albert":
        # one set of weights, one shape
        layers = [layers[1]] * 3
    checkpoint.shape(loaded.family, loaded.module, layers)
    return random_(loaded)


def narrow(loaded: checkpoint.Checkpoint, width: int) -> None:
    """Leave the first ``width`` elements of the stream between the layers."""
    family, module = loaded.family, loaded.module
    tables, head = family.embeddings(module), family.head(module)
    rows: list[torch.nn.Module] = [tables.projection] if tables.projection else []
    columns = [head.dense or head.classifier]
    columns += [] if tables.projection else [one for one in (tables.word, tables.position, tables.token_type) if one]
    norms = [head.norm, None if tables.projection else tables.norm]
    for layer in dict.fromkeys(family.layers(module)):
        attention, both, two = family.attention(layer), family.feed_forward(layer), family.norms(layer)
        rows += [attention.output, both.down]
        columns += [attention.query, attention.key, attention.value, both.up]
        norms += [two.attention, two.feed_forward]
    for one in rows:
        checkpoint.resize(one, rows=width)
    for one in columns:
        one.weight = torch.nn.Parameter(torch.empty(len(one.weight), width))
    for norm in filter(None, norms):
        norm.normalized_shape = (width,)
        norm.weight, norm.bias = (torch.nn.Parameter(torch.empty(width)) for _ in range(2))
    module.config.hidden_size = width
    random_(loaded)


def test_the_module_answers_as_transformers_own(tiny_family: Path, tmp_path: Path) -> None:
    loaded = checkpoint.load(tiny_family, ["a", "b", "c"])
    checkpoint.save(loaded, tmp_path / "out")
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert plain.config.id2label == {0: "a", 1: "b", 2: "c"}
    torch.testing.assert_close(logits(plain), logits(loaded.module), rtol=1e-5, atol=1e-6)
    assert sorted(load_file(tmp_path / "out" / "model.safetensors")) == sorted(plain.state_dict())


def test_the_accessors_name_every_weight_once(tiny_family: Path) -> None:
    """All parts together are the module, and their widths are the config's."""
    loaded = checkpoint.load(tiny_family, ["a", "b", "c"])
    family, module = loaded.family, loaded.module
    tables, head = family.embeddings(module), family.head(module)
    found = [tables.word, tables.position, tables.token_type, tables.norm, tables.projection]
    found += [head.norm, head.dense, head.classifier]
    for layer in family.layers(module):
        attention, both, norms = family.attention(layer), family.feed_forward(layer), family.norms(layer)
        assert attention.query.weight.shape == attention.key.weight.shape == attention.value.weight.shape == (32, 32)
        assert attention.output.weight.shape == (32, 32)
        assert (both.up.weight.shape, both.down.weight.shape) == ((64, 32), (32, 64))
        found += [attention.query, attention.key, attention.value, attention.output, both.up, both.down]
        found += [norms.attention, norms.feed_forward, attention.position]
    named = {id(one) for part in found if part is not None for one in part.parameters()}
    assert named == {id(one) for one in module.parameters()}
    assert family.head_size(module) == 8
    assert loaded.structure.layers == (Layer(4, 64),) * 3 if family.name != "albert" else True


def test_an_uneven_model_comes_back_to_the_bit(tiny_family: Path, tmp_path: Path) -> None:
    loaded = uneven(tiny_family)
    checkpoint.save(loaded, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert again.structure == loaded.structure == checkpoint.read_structure(tmp_path / "out")
    assert torch.equal(logits(again.module), logits(loaded.module))
    assert checkpoint.fingerprint(again) == checkpoint.fingerprint(loaded)


def test_a_cut_hidden_width_comes_back_to_the_bit(tiny_family: Path, tmp_path: Path) -> None:
    """24 of 32 elements of the stream stay, the head size and the pooler's output stay as they were."""
    loaded = uneven(tiny_family)
    narrow(loaded, 24)
    checkpoint.save(loaded, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    structure = again.structure
    assert (structure.hidden, structure.head_size) == (24, 8)
    assert structure.pooled == (None if loaded.family.head(loaded.module).dense is None else 32)
    assert structure == loaded.structure
    assert torch.equal(logits(again.module), logits(loaded.module))


def test_chosen_layers_come_back_to_the_bit(tiny_family: Path, tmp_path: Path) -> None:
    loaded = random_(checkpoint.load(tiny_family, ["a", "b", "c"]))
    layers = loaded.family.layers(loaded.module)
    loaded.family.set_layers(loaded.module, [layers[0], layers[2]])
    loaded.teacher_layers = (0, 2)
    checkpoint.save(loaded, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert again.teacher_layers == (0, 2)
    assert len(again.structure.layers) == again.module.config.num_hidden_layers == 2
    assert torch.equal(logits(again.module), logits(loaded.module))


def test_layers_that_share_stand_once_in_the_file(tiny_family: Path, tmp_path: Path) -> None:
    loaded = random_(checkpoint.load(tiny_family, ["a", "b", "c"]))
    first, *_ = loaded.family.layers(loaded.module)
    loaded.family.set_layers(loaded.module, [first] * 3)
    checkpoint.save(loaded, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert [one.weights for one in again.structure.layers] == [None, 0, 0]
    assert torch.equal(logits(again.module), logits(loaded.module))
    stored = sum(one.numel() for one in load_file(tmp_path / "out" / "model.safetensors").values())
    assert stored == again.parameters == loaded.parameters
    one_layer = sum(one.numel() for one in first.parameters())
    if tiny_family.name != "albert":
        assert stored == checkpoint.load(tiny_family, ["a", "b", "c"]).parameters - 2 * one_layer


def test_hidden_states_and_attention_are_told_layer_by_layer(tiny_family: Path) -> None:
    """Of layers that share their weights as well."""
    loaded = checkpoint.load(tiny_family, ["a", "b"])
    first, second, *_ = loaded.family.layers(loaded.module)
    loaded.family.set_layers(loaded.module, [first, second, second, first])
    loaded.module.set_attn_implementation("eager")
    found = loaded.module(IDS, MASK, output_hidden_states=True, output_attentions=True)
    assert len(found.hidden_states) == 5
    assert [one.shape for one in found.attentions] == [(2, 4, 5, 5)] * 4


def test_half_shared_albert_comes_back_to_the_bit(tiny_models_of: dict[str, Path], tmp_path: Path) -> None:
    import copy

    loaded = random_(checkpoint.load(tiny_models_of["albert"], ["a", "b"]))
    one = loaded.family.layers(loaded.module)[0]
    other = random_(checkpoint.Checkpoint(copy.deepcopy(one), loaded.family, (), (), "")).module
    loaded.family.set_layers(loaded.module, [one, other, other])
    checkpoint.save(loaded, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert [one.weights for one in again.structure.layers] == [None, None, 1]
    assert torch.equal(logits(again.module), logits(loaded.module))
    stored = sum(one.numel() for one in load_file(tmp_path / "out" / "model.safetensors").values())
    assert stored == loaded.parameters


def test_positions_are_those_that_can_be_used(tiny_family: Path) -> None:
    """The last one works, one more does not."""
    most = folder.positions(tiny_family)
    if tiny_family.name == "transformer-xl":
        # it knows distances, of any size
        assert most is None
        return
    assert most == 32
    loaded = checkpoint.load(tiny_family, ["a", "b"])
    ids = torch.full((1, most + 1), 7)
    with torch.inference_mode():
        assert loaded.module(ids[:, :most], torch.ones(1, most)).logits.isfinite().all()
        with pytest.raises((IndexError, RuntimeError)):
            loaded.module(ids, torch.ones(1, most + 1))


def test_every_tokenizer_stays_inside_its_vocabulary(tiny_family: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_family / "tokenizer.json"))
    config = json.loads((tiny_family / "config.json").read_text())
    ids = tokenizer.encode("the sunny cat").ids
    assert 2 < len(ids) < 16
    assert max(ids) < config["vocab_size"] == tokenizer.get_vocab_size()


def test_a_batch_of_gpt2_needs_no_padding_token_of_its_own(tiny_models_of: dict[str, Path]) -> None:
    loaded = checkpoint.load(tiny_models_of["gpt2"], ["a", "b"])
    pad = loaded.module.config.pad_token_id
    assert pad == loaded.module.config.eos_token_id
    padded = torch.tensor([[5, 40, 41], [7, pad, pad]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    with torch.inference_mode():
        both = loaded.module(padded, mask).logits
        alone = loaded.module(padded[1:, :1], mask[1:, :1]).logits
    torch.testing.assert_close(both[1:], alone)


@pytest.mark.parametrize(
    "option", ["add_cross_attention", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"]
)
def test_forms_of_gpt2_without_an_adapter_are_named(
    tiny_models_of: dict[str, Path], tmp_path: Path, option: str
) -> None:
    shutil.copytree(tiny_models_of["gpt2"], tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {option: True}))
    with pytest.raises(BuildError, match="no adapter") as caught:
        checkpoint.load(tmp_path / "model")
    assert caught.value.given == f"{option}: true"


def test_robertas_padding_token_keeps_its_number(tiny_models_of: dict[str, Path]) -> None:
    loaded = checkpoint.load(tiny_models_of["roberta"])
    with pytest.raises(BuildError, match="counts positions"):
        loaded.family.set_word_embedding(loaded.module, torch.nn.Embedding(10, 32, padding_idx=0))


@pytest.mark.parametrize("family", sorted(families.FAMILIES))
def test_a_smaller_vocabulary_comes_back(family: str, tiny_models_of: dict[str, Path], tmp_path: Path) -> None:
    loaded = checkpoint.load(tiny_models_of[family], ["a", "b"])
    old = loaded.family.word_embedding(loaded.module)
    smaller = torch.nn.Embedding(40, old.embedding_dim, old.padding_idx)
    loaded.family.set_word_embedding(loaded.module, smaller)
    loaded.tokenizer = Tokenizer(WordLevel({"a": 39, "[UNK]": 0}, unk_token="[UNK]")).to_str()
    checkpoint.save(loaded, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert again.structure.vocabulary == again.module.config.vocab_size == 40
    assert torch.equal(logits(again.module), logits(loaded.module))


def test_an_unknown_family_lists_the_known() -> None:
    with pytest.raises(BuildError, match="no adapter") as caught:
        families.of("mamba")
    assert caught.value.allowed == ["albert", "bert", "distilbert", "gpt2", "roberta", "transformer-xl"]
