"""Texts made comparable: one Unicode form, no control characters, single spaces, each text once."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from edgekit.spec.text import clean as cleaned

Labelled = tuple[str, str]
#: The label of a text that has none: a language model's texts all have this one.
NO_LABEL = ""


def clean(text: str, lowercase: bool = False) -> str:
    """As ``edgekit.spec.text.clean`` does on the device. Lower-casing is Unicode's, followed by NFC again since it can
    take letters apart; on the device the tokenizer's normalizer does it (``edgekit.models.tokenizer``)."""
    text = cleaned(text)
    return unicodedata.normalize("NFC", text.lower()) if lowercase else text


def distinct(rows: Iterable[Labelled]) -> list[Labelled]:
    """Each text once, sorted, so that the order of the input never matters.

    A text that appears under several labels takes the one it has most often, the alphabetically first among equals.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text, label in rows:
        counts[text][label] += 1
    return [(text, min(labels, key=lambda one: (-labels[one], one))) for text, labels in sorted(counts.items())]
