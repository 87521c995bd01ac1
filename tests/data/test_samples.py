from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from edgekit.data import samples
from edgekit.data.lengths import summarise
from edgekit.errors import DataError
from edgekit.spec.data import DataSpec

ROWS = [{"text": f"{label} number {number}", "label": label} for label in "abc" for number in range(20)]
SPEC = DataSpec("jsonl", files=("mine.jsonl",), test=9, validation=6)


def write(folder: Path, rows: list[dict[str, str]]) -> None:
    (folder / "mine.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    prepared = samples.prepare(SPEC, tmp_path, tmp_path / "out", 7)
    assert samples.read(tmp_path / "out") == prepared
    assert [len(one) for one in (prepared.train, prepared.validation, prepared.test)] == [45, 6, 9]
    assert prepared.labels == ("a", "b", "c")
    assert prepared.labels[prepared.test[0].label] == prepared.test[0].text[0]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mine.jsonl", "out"]


def test_order_doubles_and_spaces_change_no_digest(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    first = samples.prepare(SPEC, tmp_path, tmp_path / "out", 7)
    turned = [{**one, "text": "  " + one["text"].replace(" ", "\t")} for one in ROWS] + ROWS
    random.Random(1).shuffle(turned)
    write(tmp_path, turned)
    assert samples.prepare(SPEC, tmp_path, tmp_path / "again", 7).digest == first.digest
    assert samples.prepare(SPEC, tmp_path, tmp_path / "again", 8).digest != first.digest


def test_chosen_labels_keep_their_order(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    spec = DataSpec("jsonl", files=("mine.jsonl",), test=9, validation=6, labels=("c", "a"))
    prepared = samples.prepare(spec, tmp_path, tmp_path / "out", 7)
    assert prepared.labels == ("c", "a")
    assert {one.text[0] for one in prepared.train} == {"a", "c"}


def test_an_unknown_label_is_named(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    spec = DataSpec("jsonl", files=("mine.jsonl",), labels=("a", "zebra"))
    with pytest.raises(DataError, match="no sample has the label 'zebra'"):
        samples.prepare(spec, tmp_path, tmp_path / "out", 7)


def test_a_class_with_one_sample_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, [*ROWS, {"text": "alone", "label": "z"}])
    with pytest.raises(DataError, match="'z'"):
        samples.prepare(SPEC, tmp_path, tmp_path / "out", 7)
    assert [one.name for one in tmp_path.iterdir()] == ["mine.jsonl"]


def test_a_changed_sample_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    samples.prepare(SPEC, tmp_path, tmp_path / "out", 7)
    file = tmp_path / "out" / "test.jsonl"
    file.write_text(file.read_text().replace("number", "nombre", 1))
    with pytest.raises(DataError, match="changed"):
        samples.read(tmp_path / "out")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder of samples"):
        samples.read(tmp_path)


def test_length_statistics() -> None:
    found = summarise([4, 8, 9, 20], (8, 16))
    assert found.share == {"8": 0.5, "16": 0.5}
    assert found.truncated == 0.25
    assert found.tokens_lost == pytest.approx(4 / 41)
    assert found.padding == pytest.approx(1 - 37 / 48)
    assert found.padding_longest == pytest.approx(1 - 37 / 64)
    assert found.longest == 20
