"""tokenizer.json carries lower case and the side that is cut, through training and conversion to the device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.agent import pipeline
from edgekit.models import tokenizer

pytestmark = pytest.mark.torch
TEXT = "One TWO three four five six seven eight nine ten"


@pytest.fixture
def prepared(tiny_bert: Path, tmp_path: Path) -> Path:
    text = (tiny_bert / "tokenizer.json").read_text("utf-8")
    (tmp_path / "tokenizer.json").write_text(tokenizer.prepared(text, True, "left"), "utf-8")
    return tmp_path


def test_training_conversion_and_device_cut_the_same_end(prepared: Path, tiny_bert: Path) -> None:
    from tokenizers import Tokenizer

    from edgekit.compress.encoded import _tokenizer
    from edgekit.convert import tokens
    from edgekit.models import checkpoint

    loaded = checkpoint.load(tiny_bert)
    loaded.tokenizer = (prepared / "tokenizer.json").read_text("utf-8")
    whole = Tokenizer.from_file(str(prepared / "tokenizer.json"))
    whole.no_truncation()
    ids = whole.encode(TEXT).ids
    kept = [ids[0], *ids[-5:]]
    device = pipeline.Tokenizer(str(prepared / "tokenizer.json"), 6)(TEXT)
    assert (list(device.ids), device.truncated) == (kept, True)
    assert tokens.tokenize(prepared, [TEXT], 6) == [kept]
    assert _tokenizer(loaded, 6).encode(TEXT).ids == kept
    assert list(pipeline.Tokenizer(str(tiny_bert / "tokenizer.json"), 6)(TEXT).ids)[:5] != kept[:5]


def test_a_saved_checkpoint_keeps_them(prepared: Path, tiny_bert: Path, tmp_path: Path) -> None:
    from edgekit.models import checkpoint

    loaded = checkpoint.load(tiny_bert)
    loaded.tokenizer = (prepared / "tokenizer.json").read_text("utf-8")
    checkpoint.save(loaded, tmp_path / "saved")
    checkpoint.save(checkpoint.load(tmp_path / "saved"), tmp_path / "again")
    for name in ("saved", "again"):
        values = json.loads((tmp_path / name / "tokenizer.json").read_text("utf-8"))
        assert values["truncation"]["direction"] == "Left"
        assert values["normalizer"]["normalizers"][0] == {"type": "Lowercase"}


def test_the_device_answers_a_text_in_capitals_as_the_one_it_learned(prepared: Path) -> None:
    device = pipeline.Tokenizer(str(prepared / "tokenizer.json"), 64)
    assert device(TEXT.upper()).ids == device(TEXT.lower()).ids
    assert device("web\u200b server\u00a0 x").ids == device("web server x").ids


def test_a_tokenizer_of_its_own_making_is_cut_at_its_end(tiny_bert: Path) -> None:
    text = (tiny_bert / "tokenizer.json").read_text("utf-8")
    assert json.loads(tokenizer.unpadded(text))["truncation"] is None
