"""What a text is made into before it is tokenized, in training and on the device alike."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import List, Optional, Tuple

#: Where something begins and where it ends, in characters.
Place = Tuple[int, int]


def clean(text: str) -> str:
    """Unicode NFC, control and format characters dropped, white space folded to single spaces, none at the ends.

    Format characters (zero-width space, byte-order mark, soft hyphen) go as well: they are invisible, and a tokenizer
    would spell them. What comes out stays as it is when it is cleaned again.
    """
    # nearly every text is clean already, and telling that is cheap where time is short
    if text.isascii() and text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " ":
        return text
    seen = "".join(" " if one.isspace() else one for one in text if one.isspace() or _visible(one))
    # after the invisible ones are gone: what they held apart may belong together
    return " ".join(unicodedata.normalize("NFC", seen).split())


@dataclass(frozen=True)
class Cleaned:
    """A cleaned ``text``, and for each of its characters the place in the text as given that it stands for; ``None``
    where each stands where it stood."""

    text: str
    places: Optional[Tuple[Place, ...]] = None

    def given(self, start: int, end: int) -> Place:
        """Where the characters from ``start`` to before ``end`` stand in the text as given."""
        if self.places is None or start >= end:
            return start, end
        return self.places[start][0], self.places[end - 1][1]

    def inside(self, start: int, end: int) -> Place:
        """Where the characters from ``start`` to before ``end`` of the text as given stand in this one; an empty place
        where nothing is left of them."""
        if self.places is None:
            return start, end
        held = [at for at, (first, after) in enumerate(self.places) if first < end and start < after]
        return (held[0], held[-1] + 1) if held else (0, 0)


def aligned(text: str) -> Cleaned:
    """:func:`clean`, and where its characters come from."""
    cleaned = clean(text)
    if cleaned == text:
        return Cleaned(cleaned)
    letters: List[str] = []
    places: List[Place] = []
    for piece, at in _pieces(text):
        written = "".join(piece)
        found = unicodedata.normalize("NFC", written)
        # letters that were put together, or taken apart, stand for all of their piece
        whole = [(at[0], at[-1] + 1)] * len(found)
        places += [(one, one + 1) for one in at] if found == written else whole
        letters += found
    folded: List[int] = []
    for number, letter in enumerate(letters):
        if letter != " " or (folded and letters[folded[-1]] != " "):
            folded.append(number)
        elif folded:
            places[folded[-1]] = (places[folded[-1]][0], places[number][1])
    if folded and letters[folded[-1]] == " ":
        folded.pop()
    return Cleaned(cleaned, tuple(places[number] for number in folded))


def _pieces(text: str) -> List[Tuple[List[str], List[int]]]:
    """What can be seen of ``text`` in runs that NFC changes each by itself: their characters, and where they stand."""
    found: List[Tuple[List[str], List[int]]] = []
    for at, one in enumerate(text):
        space = one.isspace()
        if not space and not _visible(one):
            continue
        if not found or space or _begins(found[-1][0], one):
            found.append(([], []))
        found[-1][0].append(" " if space else one)
        found[-1][1].append(at)
    return found


def _begins(piece: List[str], letter: str) -> bool:
    """Whether NFC leaves ``letter`` alone, whatever it makes of the ``piece`` before it."""
    if letter.isascii():
        return True
    form = unicodedata.normalize
    if unicodedata.combining(form("NFD", letter)[0]):
        return False
    before = "".join(piece)
    return form("NFC", before + letter) == form("NFC", before) + form("NFC", letter)


def _visible(character: str) -> bool:
    # Cc control, Cf format, Cs lone surrogate: none of them can be seen or encoded
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs")
