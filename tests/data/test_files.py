from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data.files import read_csv, read_jsonl
from edgekit.errors import DataError


def jsonl(folder: Path, *lines: str) -> Path:
    file = folder / "mine.jsonl"
    file.write_text("\n".join(lines), "utf-8")
    return file


def test_jsonl_rows(tmp_path: Path) -> None:
    file = jsonl(tmp_path, '{"t": "one\u2028line", "l": 3}', "", '{"t": "two", "l": "x"}')
    assert list(read_jsonl(file, "t", "l")) == [("one\u2028line", "3"), ("two", "x")]


def test_csv_rows(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text('\ufefftext,label\n"a, b\nc",x\n', "utf-8")
    assert list(read_csv(file, "text", "label")) == [("a, b\nc", "x")]


@given(st.lists(st.tuples(st.text(min_size=1).filter(str.strip), st.integers()), min_size=1))
def test_jsonl_reads_what_json_writes(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]]) -> None:
    file = jsonl(tmp_path_factory.mktemp("rows"), *(json.dumps({"text": text, "label": label}) for text, label in rows))
    assert list(read_jsonl(file, "text", "label")) == [(text, str(label)) for text, label in rows]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b'{"text": "a", "label": 1}\n{"text"', r"mine\.jsonl:2: not valid JSON"),
        (b'{"text": "a", "label": 1}\n\n[1]', r"mine\.jsonl:3: a line is one JSON object"),
        (b'{"text": "a", "lable": 1}', "did you mean 'lable'"),
        (b'{"text": "a", "label": null}', "column 'label' is not a text or a whole number"),
        (b'{"text": 5, "label": 1}', "column 'text' is not a text"),
        (b'{"text": "a", "label": 1}\n\xff\xfe', r"mine\.jsonl:2: not UTF-8"),
    ],
)
def test_jsonl_errors_name_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_jsonl(file, "text", "label"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\na,b\nc,d,e\n", r"mine\.csv:3: more cells"),
        ("text,label\na\n", r"mine\.csv:2: column 'label'"),
        ("text,class\na,b\n", "no column 'label'"),
        ('text,label\n"a" b,c\n', "not valid CSV"),
    ],
)
def test_csv_errors_name_the_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        list(read_csv(file, "text", "label"))


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_jsonl(tmp_path / "none.jsonl", "text", "label"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_csv(tmp_path, "text", "label"))
