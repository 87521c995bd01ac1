"""Spans of a text with a label each, and the tags of its words that say the same: O, B-<label>, I-<label> (IOB2).

A word is what the tokenizer's pre-tokenizer keeps together; its first token is the one that is tagged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

from edgekit.errors import SpecError
from edgekit.spec.text import Place

OUTSIDE = "O"
BEGINS, GOES_ON = "B-", "I-"


@dataclass(frozen=True)
class Span:
    """The characters of a text from ``start`` to before ``end``, which are a ``label``."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Run:
    """The words from ``first`` to before ``after``, which together are a ``label``."""

    first: int
    after: int
    label: str


@dataclass(frozen=True)
class SpanCounts:
    """How well the spans of some texts were found, by exact match of both ends and the label, over all labels and texts
    together (Tjong Kim Sang & De Meulder 2003: conlleval; seqeval's default).

    Of ``words``, ``hits`` have the right tag. ``right`` spans are both among the ``given`` and the ``wanted`` ones.
    """

    words: int
    hits: int
    given: int
    wanted: int
    right: int

    @property
    def accuracy(self) -> float:
        """Per cent of words with the right tag; 0 where there are none."""
        return 100.0 * self.hits / self.words if self.words else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall in per cent; 100 where no span was wanted and none given."""
        total = self.given + self.wanted
        return 200.0 * self.right / total if total else 100.0


def tags(labels: Sequence[str]) -> Tuple[str, ...]:
    """The tags of words for spans of these labels: outside first, then where each label begins and goes on."""
    return (OUTSIDE, *(mark + label for label in labels for mark in (BEGINS, GOES_ON)))


def labels(tags: Sequence[str]) -> Tuple[str, ...]:
    """The labels of spans that these tags tell, each once. Raises SpecError where one is no tag."""
    check_tags(tags)
    return tuple(dict.fromkeys(one[2:] for one in tags if one != OUTSIDE))


def check_tags(tags: Sequence[str]) -> None:
    """Raise SpecError where ``tags`` are not those of words: each once, O among them, all others with a mark."""
    strange = [one for one in tags if one != OUTSIDE and (one[:2] not in (BEGINS, GOES_ON) or len(one) < 3)]
    if strange or OUTSIDE not in tags or len(set(tags)) < len(tags):
        raise SpecError(
            "these are no tags of words",
            given=list(strange or tags),
            allowed="O, and for each label B-<label> where it begins and I-<label> where it goes on",
        )


def are_tags(names: Sequence[str]) -> bool:
    """Whether names are tags of words, and not labels of spans."""
    return OUTSIDE in names and all(one == OUTSIDE or one[:2] in (BEGINS, GOES_ON) for one in names)


def tagged(words: Sequence[Place], spans: Sequence[Span]) -> List[str]:
    """The tag of each word: a span takes all words that it overlaps and no span before it took."""
    found = [OUTSIDE] * len(words)
    for span in spans:
        held = [at for at, (start, end) in enumerate(words) if start < span.end and span.start < end]
        free = [at for at in held if found[at] == OUTSIDE]
        for place, at in enumerate(free):
            found[at] = (GOES_ON if place else BEGINS) + span.label
    return found


def runs(tags: Sequence[str]) -> List[Run]:
    """What the words' tags say. A label that goes on without having begun begins there, as conlleval reads it."""
    found: List[Run] = []
    for at, tag in enumerate(tags):
        if tag == OUTSIDE:
            continue
        label = tag[2:]
        if tag[:2] == GOES_ON and found and found[-1].after == at and found[-1].label == label:
            found[-1] = Run(found[-1].first, at + 1, label)
        else:
            found.append(Run(at, at + 1, label))
    return found


def counts(
    words: Sequence[Sequence[Place]], given: Sequence[Sequence[Span]], wanted: Sequence[Sequence[Span]]
) -> SpanCounts:
    """Of some texts' ``words``, the spans that were ``given`` against those that were ``wanted``."""
    total, hits, right = 0, 0, 0
    for places, ours, theirs in zip(words, given, wanted):
        total += len(places)
        hits += sum(mine == other for mine, other in zip(tagged(places, ours), tagged(places, theirs)))
        right += len(set(ours) & set(theirs))
    return SpanCounts(total, hits, sum(map(len, given)), sum(map(len, wanted)), right)


def numbers(tags: Sequence[str]) -> Dict[str, int]:
    """The place of each tag among the logits' columns."""
    return {tag: number for number, tag in enumerate(tags)}
