"""Labelled texts from JSON lines and CSV files; every error names the file and the line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from edgekit.data.clean import Labelled
from edgekit.errors import DataError, nearest


def read_jsonl(file: Path, text: str, label: str) -> Iterator[Labelled]:
    """Rows of a JSON-lines file: one object a line, with the columns ``text`` and ``label``. Raises DataError."""
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
        yield cell(row, text, where, plain=False), cell(row, label, where)


def read_csv(file: Path, text: str, label: str) -> Iterator[Labelled]:
    """Rows of a CSV file with a header line, with the columns ``text`` and ``label``. Raises DataError."""
    reader = csv.DictReader(io.StringIO(_content(file), newline=""), strict=True)
    try:
        for row in reader:
            where = f"{file}:{reader.line_num}"
            if None in row:
                raise DataError(
                    "more cells than the header has columns", where=where, remedy='quote texts with commas: "a, b"'
                )
            yield cell(row, text, where, plain=False), cell(row, label, where)
    except csv.Error as error:
        raise DataError(f"not valid CSV: {error}", where=f"{file}:{reader.line_num}") from error


def cell(row: dict[str, object], column: str, where: str, plain: bool = True) -> str:
    """One cell as text. ``plain`` cells (labels) may be whole numbers; texts must be texts. Raises DataError."""
    if column not in row:
        raise DataError(
            f"no column {column!r}",
            where=where,
            given=column,
            allowed=sorted(str(one) for one in row),
            remedy=f"name the column in the recipe's data; {nearest(column, [str(one) for one in row])}",
        )
    value = row[column]
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
