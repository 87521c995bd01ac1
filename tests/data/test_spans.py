"""Labelled spans from JSON lines: what is read, and what each bad line is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokens_kit

from edgekit.data import samples
from edgekit.errors import DataError
from edgekit.spec.data import DataSpec
from edgekit.spec.spans import Span

GOOD = {"text": "Ada  left", "spans": [{"start": 0, "end": 3, "label": "PER"}]}


def prepared(tmp_path: Path, rows: list[Any], **changed: Any) -> samples.Samples:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in rows]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    spec = DataSpec(**{"source": "jsonl", "files": ("a.jsonl",), "validation": 2, "test": 2, **changed})
    return samples.prepare(spec, tmp_path, tmp_path / "out", 7, task="tokens")


def test_spans_are_those_of_the_cleaned_text(tmp_path: Path) -> None:
    rows = tokens_kit.rows(60)
    found = prepared(tmp_path, rows)
    assert (found.labels, found.task) == (tokens_kit.TAGS, "tokens")
    told = {one.text: one.spans for part in (found.train, found.validation, found.test) for one in part}
    assert sum(map(len, told.values())) > 60
    for text, spans in told.items():
        for one in spans:
            assert text[one.start : one.end] in tokens_kit.KINDS[one.label]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    made = prepared(tmp_path, tokens_kit.rows(40))
    again = samples.read(tmp_path / "out")
    assert (again.task, again.labels, again.train, again.digest) == ("tokens", made.labels, made.train, made.digest)
    spoilt = (tmp_path / "out/train.jsonl").read_text().replace('"start": ', '"start": 1', 1)
    (tmp_path / "out/train.jsonl").write_text(spoilt)
    with pytest.raises(DataError, match="were changed"):
        samples.read(tmp_path / "out")


def test_labels_choose_and_order_the_tags(tmp_path: Path) -> None:
    found = prepared(tmp_path, tokens_kit.rows(60), labels=("SKY",))
    assert found.labels == ("O", "B-SKY", "I-SKY")
    assert {one.label for part in (found.train, found.test) for row in part for one in row.spans} == {"SKY"}
    tags = ("B-SKY", "B-ANIMAL", "I-SKY", "I-ANIMAL", "O")
    assert prepared(tmp_path, tokens_kit.rows(60), labels=tags).labels == tags, "a checkpoint's own order"
    with pytest.raises(DataError, match="no span has the label 'SKI'") as caught:
        prepared(tmp_path, tokens_kit.rows(60), labels=("SKI",))
    assert "SKY" in str(caught.value)


def test_ends_of_a_span_lose_their_spaces(tmp_path: Path) -> None:
    row = {"text": "x  Ada\u00adm  y", "spans": [{"start": 1, "end": 9, "label": " PER "}]}
    found = prepared(tmp_path, [row, *tokens_kit.rows(40)], labels=("PER", "SKY"), validation=3, test=3)
    (one,) = [one for part in (found.train, found.validation, found.test) for one in part if "Adam" in one.text]
    assert (one.text, one.spans) == ("x Adam y", (Span(2, 6, "PER"),))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"text": "Ada"}, "no column 'spans'"),
        ({"text": "Ada", "spans": "PER"}, "no list of spans"),
        ({"text": "Ada", "spans": ["PER"]}, "this is no span"),
        ({"text": "Ada", "spans": [{"start": 0, "label": "PER"}]}, "this is no span"),
        ({"text": "Ada", "spans": [{"start": "0", "end": 3, "label": "PER"}]}, "whole numbers"),
        ({"text": "Ada", "spans": [{"start": True, "end": 3, "label": "PER"}]}, "whole numbers"),
        ({"text": "Ada", "spans": [{"start": 0, "end": 4, "label": "PER"}]}, "within its text"),
        ({"text": "Ada", "spans": [{"start": 2, "end": 2, "label": "PER"}]}, "within its text"),
        ({"text": "Ada", "spans": [{"start": -1, "end": 2, "label": "PER"}]}, "within its text"),
        ({"text": "Ada", "spans": [{"start": 0, "end": 2, "label": ""}]}, "label is a text"),
        ({"text": "Ada", "spans": [{"start": 0, "end": 2, "label": 3}]}, "label is a text"),
        ({"text": "Ada \u200b", "spans": [{"start": 3, "end": 5, "label": "PER"}]}, "nothing that is seen"),
        (
            {"text": "Ada B", "spans": [{"start": 0, "end": 5, "label": "A"}, {"start": 4, "end": 5, "label": "B"}]},
            "overlap",
        ),
        ({"text": "  ", "spans": []}, "not a text"),
        ("{", "not valid JSON"),
    ],
)
def test_each_bad_line_has_its_error(line: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told) as caught:
        prepared(tmp_path, [GOOD, line])
    assert str(caught.value.where).endswith("a.jsonl:2")


def test_texts_without_a_span_at_all_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to learn"):
        prepared(tmp_path, [{"text": f"text {number}", "spans": []} for number in range(9)])


def test_a_label_that_only_held_out_texts_have_is_told(tmp_path: Path) -> None:
    rows = [{"text": f"Ada{number}", "spans": [{"start": 0, "end": 4, "label": f"L{number}"}]} for number in range(6)]
    with pytest.raises(DataError, match="no training text is left"):
        prepared(tmp_path, rows)
