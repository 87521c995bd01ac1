from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors import safe_open  # noqa: E402

from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint, parts  # noqa: E402
from edgekit.models.structure import Codebook, Factor, Hashing  # noqa: E402

pytestmark = pytest.mark.torch
IDS = torch.tensor([[3, 58, 59, 4], [3, 60, 4, 0]])
MASK = (IDS != 0).long()
WORDS = "bert.embeddings.word_embeddings"
UP = "bert.encoder.layer.1.intermediate.dense"


def logits(loaded: checkpoint.Checkpoint) -> torch.Tensor:
    with torch.inference_mode():
        return loaded.module(IDS, MASK).logits


@pytest.fixture
def loaded(tiny_bert: Path) -> checkpoint.Checkpoint:
    torch.manual_seed(5)
    return checkpoint.load(tiny_bert, ["a", "b", "c"])


def random(part: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(6)
    for one in part.parameters():
        torch.nn.init.normal_(one, std=0.2)
    return part


def factored(loaded: checkpoint.Checkpoint, name: str, rank: int) -> None:
    parts.put(loaded.module, name, random(parts.factored(parts.part(loaded.module, name), rank)))


def test_a_factored_projection_is_the_product_of_its_factors() -> None:
    one = random(parts.FactoredLinear(12, 20, 3, bias=True))
    inputs = torch.randn(2, 5, 12)
    torch.testing.assert_close(one(inputs), torch.nn.functional.linear(inputs, one.weight, one.bias))
    assert (one.in_features, one.out_features, one.rank) == (12, 20, 3)
    assert torch.linalg.matrix_rank(one.weight) == 3
    assert sum(weight.numel() for weight in one.parameters()) == 3 * (12 + 20) + 20


def test_a_factored_embedding_is_the_product_of_its_factors() -> None:
    one = random(parts.FactoredEmbedding(50, 16, 4, padding_idx=0))
    torch.testing.assert_close(one(IDS[:, :1]), one.weight[IDS[:, :1]])
    assert (one.num_embeddings, one.embedding_dim, one.rank, one.padding_idx) == (50, 16, 4, 0)


def test_a_hashed_token_is_the_sum_of_its_rows() -> None:
    one = random(parts.HashedEmbedding(70, 16, buckets=9, hashes=3))
    wanted = sum(one.table.weight[one.rows[:, number].long()] for number in range(3))
    torch.testing.assert_close(one(torch.arange(70)), wanted)
    torch.testing.assert_close(one.weight, wanted)
    assert (one.num_embeddings, one.buckets, one.hashes) == (70, 9, 3)


def test_the_hash_is_the_documented_one() -> None:
    # SplitMix64's published sequence from seed 0: its n-th number is the mix of n additions of the golden gamma
    assert parts._mixed(0) == 0xE220A8397B1DCDAF
    rows = parts.hashed(4096, 64, 2)
    assert rows.dtype == torch.int32
    assert rows[0].tolist() == [0xE220A8397B1DCDAF % 64, parts._mixed(1) % 64]
    counts = torch.bincount(rows.flatten().long(), minlength=64)
    # 128 a bucket, give or take
    assert counts.min() > 80
    assert counts.max() < 180


@pytest.mark.parametrize("name", [WORDS, UP, "bert.encoder.layer.0.attention.self.query"])
def test_a_factored_model_comes_back_to_the_bit(loaded: checkpoint.Checkpoint, tmp_path: Path, name: str) -> None:
    before = loaded.parameters
    factored(loaded, name, 8)
    checkpoint.save(loaded, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert again.structure == loaded.structure
    assert again.structure.factors == (Factor(name, 8),)
    assert torch.equal(logits(again), logits(loaded))
    assert again.parameters == loaded.parameters < before


def test_a_hashed_model_comes_back_to_the_bit_whatever_its_rows(loaded: checkpoint.Checkpoint, tmp_path: Path) -> None:
    hashed = random(parts.HashedEmbedding(68, 32, 20, 2, padding_idx=0))
    hashed.rows[58] = torch.tensor([7, 7])
    parts.put(loaded.module, WORDS, hashed)
    checkpoint.save(loaded, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert again.structure.hashing == Hashing(WORDS, 20, 2)
    assert torch.equal(again.family.word_embedding(again.module).rows, hashed.rows)
    assert torch.equal(logits(again), logits(loaded))


def test_shared_layers_are_in_the_file_once_and_come_back_shared(loaded: checkpoint.Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(loaded, tmp_path / "plain")
    parts.share(loaded.module, loaded.family, [0, 0])
    factored(loaded, UP.replace("1", "0"), 8)
    checkpoint.save(loaded, tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        stored = [name for name in file.keys() if ".layer." in name]  # noqa: SIM118
    assert stored
    assert all(".layer.0." in name for name in stored)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("plain", "out")]
    layer = sum(one.numel() for one in checkpoint.load(tmp_path / "plain").family.layers(loaded.module)[0].parameters())
    assert sizes[0] - sizes[1] >= 4 * layer
    again = checkpoint.load(tmp_path / "out")
    first, second = again.family.layers(again.module)
    assert [one.data_ptr() for one in first.parameters()] == [one.data_ptr() for one in second.parameters()]
    assert [one.weights for one in again.structure.layers] == [None, 0]
    assert again.structure == loaded.structure
    assert again.parameters == loaded.parameters
    assert torch.equal(logits(again), logits(loaded))


def test_a_codebook_is_told_as_long_as_it_holds(loaded: checkpoint.Checkpoint, tmp_path: Path) -> None:
    one = parts.part(loaded.module, UP)
    one.weight.data = one.weight.sign() * 0.25
    parts.mark(one, 2)
    checkpoint.save(loaded, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert again.structure.codebooks == (Codebook(f"{UP}.weight", 2),)
    parts.part(again.module, UP).weight.data[0, 0] = 0.1
    assert again.structure.codebooks == ()


def test_a_factored_matrix_is_not_cut_row_by_row(loaded: checkpoint.Checkpoint) -> None:
    factored(loaded, UP, 8)
    one = parts.part(loaded.module, UP)
    with pytest.raises(BuildError, match="factored or hashed"):
        one.weight = torch.nn.Parameter(one.weight.detach()[:8])


def test_what_is_factored_is_not_factored_again(loaded: checkpoint.Checkpoint) -> None:
    with pytest.raises(BuildError, match="plain"):
        parts.factored(parts.factored(parts.part(loaded.module, UP), 8), 8)


def test_a_name_that_the_module_lacks_is_refused(loaded: checkpoint.Checkpoint, tmp_path: Path) -> None:
    factored(loaded, UP, 8)
    checkpoint.save(loaded, tmp_path / "out")
    file = tmp_path / "out" / "edgekit.json"
    text = json.loads(file.read_text())
    text["factors"][0]["name"] = "bert.nowhere"
    file.write_text(json.dumps(text))
    with pytest.raises(BuildError, match="no part of this name") as caught:
        checkpoint.load(tmp_path / "out")
    assert caught.value.given == "bert.nowhere"
