from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.data import hub, samples
from edgekit.errors import DataError
from edgekit.spec.data import DataSpec, Unlabeled

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def write(folder: Path, rows: list[dict[str, object]]) -> None:
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))


def test_local_json_by_the_real_loader(tmp_path: Path) -> None:
    write(tmp_path, [{"body": f"text {kind} {n}", "kind": kind} for kind in "ab" for n in range(10)])
    spec = DataSpec("hf", name="json", files=("rows.jsonl",), text="body", label="kind", test=4, validation=2)
    prepared = samples.prepare(spec, tmp_path, tmp_path / "out", 1)
    assert prepared.labels == ("a", "b")
    assert len(prepared.train) == 14
    assert prepared.provenance["name"] == "json"


def test_class_labels_give_names(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    rows = datasets.Dataset.from_dict({"text": ["bad", "good"], "label": [0, 1]}, features=features)
    (tmp_path / "set").mkdir()
    rows.to_parquet(tmp_path / "set" / "train.parquet")
    found, _ = hub.read(DataSpec("hf", name="set"), tmp_path)
    assert found == [("bad", "neg"), ("good", "pos")]


def test_hidden_labels_are_refused(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    rows = datasets.Dataset.from_dict({"text": ["bad"], "label": [-1]}, features=features)
    (tmp_path / "set").mkdir()
    rows.to_parquet(tmp_path / "set" / "train.parquet")
    with pytest.raises(DataError, match="unlabelled"):
        hub.read(DataSpec("hf", name="set"), tmp_path)


def test_an_unlabelled_set_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [{"text": "a line of Wikitext"}])
    with pytest.raises(DataError, match="each text needs a label") as caught:
        hub.read(DataSpec("hf", name="json", files=("rows.jsonl",)), tmp_path)
    assert "data.unlabeled" in str(caught.value)


def test_translations_teach_without_labels(tmp_path: Path) -> None:
    """WMT's form: both languages nested in one column."""
    write(tmp_path, [{"translation": {"de": f"Satz {n}", "en": f"sentence {n}"}} for n in range(5)])
    spec = Unlabeled("hf", name="json", files=("rows.jsonl",), text="translation.en")
    texts, provenance = hub.unlabeled(spec, tmp_path)
    assert list(texts) == [f"sentence {n}" for n in range(5)]
    assert provenance["split"] == "train"


def test_plain_columns_teach_without_labels_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    """Wikitext's form: one line of the page a row, many of them empty."""
    write(tmp_path, [{"text": ""}, {"text": " = Heading = \n"}, {"text": "A line."}])
    texts, _ = hub.unlabeled(Unlabeled("hf", name="json", files=("rows.jsonl",)), tmp_path)
    assert list(texts) == [" = Heading = \n", "A line."]


def test_a_nested_column_is_named_where_it_is_missed(tmp_path: Path) -> None:
    write(tmp_path, [{"translation": {"de": "Satz", "en": "sentence"}}])
    texts, _ = hub.unlabeled(Unlabeled("hf", name="json", files=("rows.jsonl",), text="en"), tmp_path)
    with pytest.raises(DataError) as caught:
        list(texts)
    assert "translation.en" in str(caught.value.allowed)


def test_nested_labels_are_reached(tmp_path: Path) -> None:
    write(tmp_path, [{"body": {"plain": "a text"}, "meta": {"kind": "b"}}])
    spec = DataSpec("hf", name="json", files=("rows.jsonl",), text="body.plain", label="meta.kind")
    assert hub.read(spec, tmp_path)[0] == [("a text", "b")]


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    write(tmp_path, [{"text": "a", "label": "b"}])
    with pytest.raises(DataError, match="cannot be loaded"):
        hub.read(DataSpec("hf", name="json", files=("rows.jsonl",), split="dev"), tmp_path)


def test_offline_and_unknown(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody/nothing"):
        hub.read(DataSpec("hf", name="nobody/nothing"), tmp_path)
