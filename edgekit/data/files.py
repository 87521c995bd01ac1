"""Texts from JSON lines, CSV and plain text files; every error names the file and the line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgekit.data.clean import Labelled
from edgekit.errors import DataError, nearest

#: A row's cells by column, and where it stands.
Row = tuple[dict[str, Any], str]


def read_jsonl(file: Path, text: str, label: str) -> Iterator[Labelled]:
    """Rows of a JSON-lines file: one object a line, with the columns ``text`` and ``label``. Raises DataError."""
    return labelled(jsonl_rows(file), text, label)


def read_csv(file: Path, text: str, label: str) -> Iterator[Labelled]:
    """Rows of a CSV file with a header line, with the columns ``text`` and ``label``. Raises DataError."""
    return labelled(csv_rows(file), text, label)


def labelled(rows: Iterable[Row], text: str, label: str) -> Iterator[Labelled]:
    """(text, label) of each row. Raises DataError for a cell that is missing or empty."""
    for row, where in rows:
        yield cell(row, text, where, plain=False), cell(row, label, where)


def unlabeled(rows: Iterable[Row], text: str) -> Iterator[str]:
    """The text of each row; blank ones, which stand between the paragraphs of many corpora, are passed over."""
    for row, where in rows:
        value = reach(row, text, where)
        if not (isinstance(value, str) and not value.strip()):
            yield cell(row, text, where, plain=False)


def jsonl_rows(file: Path) -> Iterator[Row]:
    """The objects of a JSON-lines file. Raises DataError."""
    content = _content(file)
    # not splitlines(): it also breaks at U+2028 and the like, which may stand inside a JSON string
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"not valid JSON: {error}", where=where) from error
        if not isinstance(row, dict):
            raise DataError("a line is one JSON object", where=where, given=line[:80])
        yield row, where


def csv_rows(file: Path) -> Iterator[Row]:
    """The rows of a CSV file with a header line. Raises DataError."""
    reader = csv.DictReader(io.StringIO(_content(file), newline=""), strict=True)
    try:
        for row in reader:
            where = f"{file}:{reader.line_num}"
            if None in row:
                raise DataError(
                    "more cells than the header has columns", where=where, remedy='quote texts with commas: "a, b"'
                )
            yield row, where
    except csv.Error as error:
        raise DataError(f"not valid CSV: {error}", where=f"{file}:{reader.line_num}") from error


def text_rows(file: Path) -> Iterator[Row]:
    """The lines of a text file, in the column ``text``. Raises DataError."""
    for number, line in enumerate(_content(file).split("\n"), start=1):
        yield {"text": line}, f"{file}:{number}"


def reach(row: dict[str, Any], column: str, where: str) -> object:
    """The value of a column; ``translation.en`` is ``en`` in the column ``translation``. Raises DataError."""
    if column in row:
        return row[column]
    outer, dot, inner = column.partition(".")
    if dot and isinstance(row.get(outer), dict):
        return reach(row[outer], inner, where)
    known = sorted(one for name, value in row.items() for one in _paths(str(name), value))
    raise DataError(
        f"no column {column!r}",
        where=where,
        given=column,
        allowed=known,
        remedy=f"name the column in the recipe's data; {nearest(column, known)}",
    )


def _paths(name: str, value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner, one in value.items():
            yield from _paths(f"{name}.{inner}", one)
    else:
        yield name


def cell(row: dict[str, Any], column: str, where: str, plain: bool = True) -> str:
    """One cell as text. ``plain`` cells (labels) may be whole numbers; texts must be texts. Raises DataError."""
    value = reach(row, column, where)
    if isinstance(value, str) and value.strip():
        return value
    if plain and isinstance(value, int):
        return str(value).lower()
    kind = "a text or a whole number" if plain else "a text"
    raise DataError(f"column {column!r} is not {kind}", where=where, given=repr(value))


def _content(file: Path) -> str:
    try:
        content = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("no such file", where=str(file)) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError("not UTF-8", where=f"{file}:{line}", remedy="convert it: iconv -t UTF-8 IN > OUT") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(file)) from error
    if not content.strip():
        raise DataError("the file is empty", where=str(file))
    return content
