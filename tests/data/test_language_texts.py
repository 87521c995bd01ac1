"""Texts without labels as samples of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.data import debian, samples
from edgekit.errors import DataError
from edgekit.spec.data import DataSpec

TEXTS = [f"text number {number}" for number in range(20)]
SPEC = DataSpec("text", files=("mine.txt",), validation=4, test=6, lengths=(8,))


def prepare(folder: Path, spec: DataSpec, out: str = "out") -> samples.Samples:
    return samples.prepare(spec, folder, folder / out, 7, task="language")


def test_texts_need_no_labels_and_are_split_by_their_hash(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("\n".join([*TEXTS, "", "  text number 3 "]) + "\n")
    found = prepare(tmp_path, SPEC)
    assert (found.labels, found.task) == ((), "language")
    assert (len(found.train), len(found.validation), len(found.test)) == (10, 4, 6)
    parts = [one.text for part in (found.train, found.validation, found.test) for one in part]
    assert sorted(parts) == sorted(TEXTS), "each once, none twice in two parts"
    again = samples.read(tmp_path / "out")
    assert (again.digest, again.task, again.test) == (found.digest, "language", found.test)
    (tmp_path / "mine.txt").write_text("\n".join(reversed(TEXTS)))
    assert prepare(tmp_path, SPEC, "turned").digest == found.digest


def test_every_source_gives_texts_without_a_column_of_labels(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("\n".join(TEXTS))
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps({"body": one}) + "\n" for one in TEXTS))
    (tmp_path / "mine.csv").write_text("body\n" + "".join(f"{one}\n" for one in TEXTS))
    wanted = prepare(tmp_path, SPEC).digest
    for source in ("jsonl", "csv"):
        spec = DataSpec(source, files=(f"mine.{source}",), text="body", validation=4, test=6, lengths=(8,))
        assert prepare(tmp_path, spec, source).digest == wanted


def test_a_language_model_reads_the_descriptions_of_all_sections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paragraphs = "\n\n".join(
        f"Section: {'libs' if n % 2 else 'games'}\nDescription: {one}" for n, one in enumerate(TEXTS)
    )
    monkeypatch.setattr(debian, "_run", lambda command: paragraphs)
    monkeypatch.setattr(debian.shutil, "which", lambda name: name)
    found = prepare(tmp_path, DataSpec("debian-sections", validation=4, test=6, lengths=(8,)))
    assert sum(len(one) for one in (found.train, found.validation, found.test)) == len(TEXTS)


def test_fewer_texts_than_are_held_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("\n".join(TEXTS[:9]))
    with pytest.raises(DataError, match="held out"):
        prepare(tmp_path, SPEC)
