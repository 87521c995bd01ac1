"""Texts with labelled spans, from JSON lines: every line checked, and the spans moved into the cleaned text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from edgekit.data import files
from edgekit.data.clean import Labelled
from edgekit.errors import DataError, nearest
from edgekit.spec import codec, spans
from edgekit.spec.data import DataSpec
from edgekit.spec.spans import Span
from edgekit.spec.text import Cleaned, aligned

KEYS = ("start", "end", "label")
FORM = '{"start": 0, "end": 3, "label": "PER"}'


def read(spec: DataSpec, base: Path) -> tuple[list[Labelled], dict[str, str]]:
    """Each text of the files, cleaned, and its spans written as :func:`written` does; and where they come from.

    Raises DataError, with file and line, for spans that are none, that begin or end outside of their text, hold nothing
    that is seen, or overlap.
    """
    rows = [_row(row, where, spec) for name in spec.files for row, where in files.jsonl_rows(base / name)]
    return rows, {"source": spec.source, "files": ", ".join(spec.files)}


def written(found: Sequence[Span]) -> str:
    """Canonical JSON: equal spans are equal texts."""
    return codec.dumps(list(found))


def spans_in(text: str) -> tuple[Span, ...]:
    """What :func:`written` wrote."""
    return codec.decode(tuple[Span, ...], json.loads(text))


def tags(spec: DataSpec, rows: Iterable[Sequence[Span]]) -> tuple[str, ...]:
    """What the words are to be tagged with: of the labels asked for, else of all there are. Raises DataError where none
    is there, or one that is asked for is not."""
    there = {one.label for row in rows for one in row}
    asked = spans.labels(spec.labels) if spans.are_tags(spec.labels) else spec.labels
    for label in asked:
        if label not in there:
            raise DataError(
                f"no span has the label {label!r}",
                where="$.data.labels",
                given=label,
                allowed=sorted(there),
                remedy=nearest(label, there),
            )
    if not there:
        raise DataError("no text has a span: there is nothing to learn", where="$.data.spans", given=spec.spans)
    return spec.labels if spans.are_tags(spec.labels) else spans.tags(asked or sorted(there))


def kept(found: Sequence[Span], tags: Sequence[str]) -> tuple[Span, ...]:
    """Those whose label has tags."""
    known = set(spans.labels(tags))
    return tuple(one for one in found if one.label in known)


def check_parts(train: Iterable[Sequence[Span]], held: Iterable[Sequence[Span]]) -> None:
    """Raise DataError where a label is held out that no training text has."""
    learned, asked = (Counter(one.label for row in part for one in row) for part in (train, held))
    unseen = sorted(set(asked) - set(learned))
    if unseen:
        raise DataError(
            "no training text is left with a span of a label that is held out",
            given=", ".join(repr(one) for one in unseen),
            remedy="add texts with it, raise train, lower test and validation, or leave it out (labels: […])",
            where="$.data",
        )


def _row(row: dict[str, object], where: str, spec: DataSpec) -> Labelled:
    text = files.cell(row, spec.text, where, plain=False)
    value = files.reach(row, spec.spans, where)
    if not isinstance(value, list):
        raise DataError(
            f"column {spec.spans!r} is no list of spans", where=where, given=repr(value), allowed=f"[{FORM}]"
        )
    cleaned = aligned(text)
    found = sorted((_span(one, text, cleaned, where) for one in value), key=lambda one: (one.start, one.end))
    for first, second in pairwise(found):
        if second.start < first.end:
            raise DataError(
                "two spans overlap: a word has one tag",
                where=where,
                given=f"{cleaned.text[first.start : first.end]!r} and {cleaned.text[second.start : second.end]!r}",
                remedy="keep one of them, or cut the longer one",
            )
    return cleaned.text, written(found)


def _span(value: object, text: str, cleaned: Cleaned, where: str) -> Span:
    """One span of ``text``, moved into the ``cleaned`` one, without spaces at its ends."""
    if not isinstance(value, dict) or not set(KEYS) <= set(value):
        raise DataError("this is no span", where=where, given=json.dumps(value, ensure_ascii=False)[:80], allowed=FORM)
    start, end, label = (value[key] for key in KEYS)
    if any(isinstance(one, bool) or not isinstance(one, int) for one in (start, end)):
        raise DataError(
            "a span's start and end are whole numbers of characters", where=where, given=f"{start!r}, {end!r}"
        )
    if not isinstance(label, str) or not label.strip():
        raise DataError("a span's label is a text", where=where, given=repr(label))
    if not 0 <= start < end <= len(text):
        raise DataError(
            "a span begins and ends within its text, and holds a character at least",
            where=where,
            given=f"{start} to {end}",
            allowed=f"0 to {len(text)}, the end not counted",
            remedy="characters are counted, not bytes, from 0",
        )
    return trimmed(Span(*cleaned.inside(start, end), label.strip()), cleaned.text, where)


def trimmed(span: Span, text: str, where: str) -> Span:
    """Without spaces at its ends. Raises DataError where nothing is left."""
    inner = text[span.start : span.end]
    if not inner.strip():
        raise DataError("a span holds nothing that is seen", where=where, given=f"{span.label} {inner!r}")
    start = span.start + len(inner) - len(inner.lstrip())
    return replace(span, start=start, end=start + len(inner.strip()))
