"""The words of a tokenized text: what the pre-tokenizer kept together, as ``tokenizers`` tells it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, List


@dataclass(frozen=True)
class Word:
    """The characters from ``start`` to before ``end``; ``token`` is the place of its first token, which answers for
    it."""

    token: int
    start: int
    end: int


def words_of(encoding: Any, text: str) -> List[Word]:
    """The words of ``text``, of which ``encoding`` (``tokenizers.Encoding``) is made, without spaces at their ends; no
    special token is one. What the pre-tokenizer left together is told apart by spaces and punctuation, so that a name
    need not end with a comma."""
    found: List[Word] = []
    last = None
    for token, (word, (first, end)) in enumerate(zip(encoding.word_ids, encoding.offsets)):
        piece = text[first:end].rstrip()
        inner = piece.lstrip()
        if word is None or not inner:
            continue
        start, after = first + len(piece) - len(inner), first + len(piece)
        if found and word == last and _joined(text, found[-1].end, start):
            found[-1] = Word(found[-1].token, found[-1].start, max(after, found[-1].end))
        else:
            found.append(Word(token, start, after))
        last = word
    return found


def _joined(text: str, end: int, start: int) -> bool:
    """Whether what begins at ``start`` goes on with a word that reaches ``end``."""
    if start != end:
        # the bytes of one character are several tokens at the same place
        return start < end
    return not any(unicodedata.category(one)[0] in "PS" for one in text[end - 1 : end + 1])
