"""A base model that embeds texts: pooled over real tokens, of length 1, by every family's own parts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from edgekit import compress  # noqa: E402
from edgekit.convert import module  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.models import embedder, folder  # noqa: E402

pytestmark = pytest.mark.torch
IDS = torch.tensor([[3, 7, 9, 11, 13, 2, 1, 1], [4, 5, 6, 1, 1, 1, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]])


def states(plain: Path) -> torch.Tensor:
    """transformers' own."""
    with torch.inference_mode():
        found: torch.Tensor = (
            transformers.AutoModel.from_pretrained(plain).eval()(IDS, attention_mask=MASK).last_hidden_state
        )
    return found


def test_it_is_the_mean_of_real_tokens_and_is_exported_as_it_is(tiny_family: Path, tmp_path: Path) -> None:
    compress.adopt(tiny_family, tmp_path / "model", "embed")
    loaded = checkpoints.load(tmp_path / "model")
    assert (loaded.task, loaded.labels, loaded.module.config.pooling) == ("embed", (), "mean")
    assert folder.task(tmp_path / "model") == "embed"
    own = states(tiny_family)
    rows = [own[row][MASK[row] == 1].mean(0) for row in range(2)]
    wanted = torch.nn.functional.normalize(torch.stack(rows), dim=-1)
    with torch.inference_mode():
        given = loaded.module(IDS, MASK).logits
        exported = module.load(tmp_path / "model", (8,))(IDS.int(), MASK.int())
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(exported, wanted, rtol=1e-4, atol=1e-5)


def test_the_first_token_is_taken_where_the_recipe_or_the_folder_says_so(tiny_bert: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    shutil.copytree(tiny_bert, said)
    (said / "1_Pooling").mkdir()
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 32}
    (said / "1_Pooling/config.json").write_text(json.dumps(modes))
    compress.adopt(said, tmp_path / "by-folder", "embed")
    compress.adopt(tiny_bert, tmp_path / "by-recipe", "embed", "first")
    wanted = torch.nn.functional.normalize(states(tiny_bert)[:, 0], dim=-1)
    for name in ("by-folder", "by-recipe"):
        loaded = checkpoints.load(tmp_path / name)
        with torch.inference_mode():
            torch.testing.assert_close(loaded.module(IDS, MASK).logits, wanted, rtol=1e-4, atol=1e-5)
    compress.adopt(said, tmp_path / "over", "embed", "mean")
    assert checkpoints.load(tmp_path / "over").module.config.pooling == "mean", "the recipe has the last word"


@pytest.mark.parametrize("text", ["{", '{"pooling_mode_max_tokens": true}', "{}"])
def test_another_pooling_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text(text)
    with pytest.raises(BuildError, match=r"cannot be read|not known here") as caught:
        embedder.stated(tmp_path)
    assert str(caught.value.where).endswith("1_Pooling/config.json")


def test_padding_and_its_length_change_nothing(tiny_bert: Path, tmp_path: Path) -> None:
    compress.adopt(tiny_bert, tmp_path / "model", "embed")
    exported = module.load(tmp_path / "model", (8, 16))
    with torch.inference_mode():
        bare = exported(IDS[1:, :3].int(), MASK[1:, :3].int())
        long = exported(torch.nn.functional.pad(IDS[1:], (0, 8)).int(), torch.nn.functional.pad(MASK[1:], (0, 8)).int())
    torch.testing.assert_close(bare, long, rtol=1e-5, atol=1e-6)
    assert float(bare.norm()) == pytest.approx(1.0, abs=1e-5)


def test_transformers_loads_what_was_saved(tiny_bert: Path, tmp_path: Path) -> None:
    compress.adopt(tiny_bert, tmp_path / "model", "embed")
    torch.testing.assert_close(states(tmp_path / "model"), states(tiny_bert))
