"""Texts without labels: which of them are taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data import samples
from edgekit.data.unlabeled import draw
from edgekit.errors import DataError
from edgekit.spec.data import DataSpec, Unlabeled

ROWS = [{"text": f"{label} number {number}", "label": label} for label in "abc" for number in range(20)]


def prepare(folder: Path, more: list[str], out: str = "out", **options: object) -> samples.Samples:
    (folder / "mine.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ROWS))
    (folder / "more.txt").write_text("\n".join(more))
    unlabeled = Unlabeled("text", files=("more.txt",), **options)  # type: ignore[arg-type]
    spec = DataSpec("jsonl", files=("mine.jsonl",), test=9, validation=6, unlabeled=unlabeled)
    return samples.prepare(spec, folder, folder / out, 7)


def test_no_sample_is_among_them(tmp_path: Path) -> None:
    """Held-out texts above all, however they are spaced and capitalized."""
    every = [one["text"].replace(" ", "  ").upper() for one in ROWS]
    found = prepare(tmp_path, [*every, "", "one more", " one  more ", "another"])
    assert sorted(found.unlabeled) == ["another", "one more"]
    assert found.provenance["unlabeled files"] == "more.txt"
    assert samples.read(tmp_path / "out") == found


def test_they_are_part_of_the_digest_and_leave_the_split_alone(tmp_path: Path) -> None:
    first, other = prepare(tmp_path, ["x"]), prepare(tmp_path, ["y"], "other")
    assert first.digest != other.digest
    assert (first.train, first.test) == (other.train, other.test)
    plain = DataSpec("jsonl", files=("mine.jsonl",), test=9, validation=6)
    assert samples.prepare(plain, tmp_path, tmp_path / "plain", 7).train == first.train


def test_a_changed_text_is_noticed(tmp_path: Path) -> None:
    prepare(tmp_path, ["one more"])
    (tmp_path / "out" / "unlabeled.jsonl").write_text('"one less"\n')
    with pytest.raises(DataError, match="changed"):
        samples.read(tmp_path / "out")


def test_the_limit_draws_the_same_ones_in_any_order(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(200)]
    first = prepare(tmp_path, texts, limit=10).unlabeled
    assert len(first) == 10
    assert prepare(tmp_path, texts[::-1] + texts, limit=10).unlabeled == first


@given(st.lists(st.sampled_from("abcdefghij")), st.integers(1, 5))
def test_a_draw_in_little_memory_is_the_draw_of_all(texts: list[str], limit: int) -> None:
    assert draw(texts, limit, 7) == draw(texts, 1000, 7)[:limit]


def test_nothing_left_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text is left"):
        prepare(tmp_path, [ROWS[0]["text"]])


def test_nested_and_plain_columns(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ROWS))
    (tmp_path / "more.jsonl").write_text(json.dumps({"translation": {"en": "nested", "fr": "x"}}) + "\n")
    (tmp_path / "more.csv").write_text("en,fr\nplain,x\n")
    for source, file, column, text in (
        ("jsonl", "more.jsonl", "translation.en", "nested"),
        ("csv", "more.csv", "en", "plain"),
    ):
        unlabeled = Unlabeled(source, files=(file,), text=column)  # type: ignore[arg-type]
        spec = DataSpec("jsonl", files=("mine.jsonl",), test=9, validation=6, unlabeled=unlabeled)
        assert samples.prepare(spec, tmp_path, tmp_path / source, 7).unlabeled == [text]
