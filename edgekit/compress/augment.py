"""Changed copies of texts for a teacher to label: the student sees more of what the teacher would answer.

As in data augmentation for distillation (TinyBERT, Jiao 2020), without a language model: a copy is spliced of two texts
(as CutMix does with images, Yun 2019), or one span of its text, or has words dropped (Xie 2017), swapped (EDA, Wei &
Zou 2019) and replaced by words of the other texts, as often as those use them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

#: The share of copies that are spliced, and of those that are one span; the rest has its words changed.
SPLICED, CUT = 0.35, 0.25
#: How often a text is spliced with one of its own kind, where there are others.
OWN = 0.7
#: A splice takes no more words than this of either text.
PIECE = 8
#: The share of a text's words that is dropped, replaced, and swapped with the next.
DROPPED, REPLACED, SWAPPED = 0.15, 0.15, 0.05

Words = Sequence[str]


def copies(texts: Sequence[str], count: int, seed: int, others: Sequence[str] = ()) -> list[str]:
    """``count`` changed copies of each text, in the order of the texts; the same for the same texts and seed.

    Args:
        others: more texts to splice with.
    """
    draw = random.Random(f"augment:{seed}")
    own, more = ([split for text in some if (split := text.split())] for some in (texts, others))
    known = [word for split in own for word in split]
    return [_changed(split, own, more, known, draw) for split in own for _ in range(count)]


def spliced(left: Words, right: Words, draw: random.Random) -> list[str]:
    """A piece of each text, in either order; a piece starts in its text's first half."""
    pieces = []
    for words in (left, right):
        start = draw.randrange(max(1, len(words) // 2))
        pieces.append(words[start:][: draw.randint(1, PIECE)])
    draw.shuffle(pieces)
    return [word for piece in pieces for word in piece]


def span(words: Words, draw: random.Random) -> list[str]:
    """Some of the words in a row: all but one at the most."""
    length = draw.randint(1, max(1, len(words) - 1))
    start = draw.randint(0, len(words) - length)
    return list(words[start : start + length])


def reworded(words: Words, known: Words, draw: random.Random) -> list[str]:
    """The words with some dropped, some replaced by ``known`` ones, some swapped; never none of them."""
    found: list[str] = []
    for word in words:
        fate = draw.random()
        if fate >= DROPPED:
            found.append(draw.choice(known) if fate < DROPPED + REPLACED else word)
    for place in range(len(found) - 1):
        if draw.random() < SWAPPED:
            found[place], found[place + 1] = found[place + 1], found[place]
    return found or list(words)


def _changed(words: Words, own: Sequence[Words], more: Sequence[Words], known: Words, draw: random.Random) -> str:
    fate = draw.random()
    if fate < SPLICED:
        return " ".join(spliced(words, draw.choice(own if not more or draw.random() < OWN else more), draw))
    return " ".join(span(words, draw) if fate < SPLICED + CUT else reworded(words, known, draw))
