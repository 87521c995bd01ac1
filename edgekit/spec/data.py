"""The recipe's data: texts, with and without labels, and how they become samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least
from edgekit.spec.windows import Windows


@dataclass(frozen=True)
class Unlabeled:
    """Texts without labels: the student learns the teacher's logits on them as well, the labels' loss leaves them out.

    ``source`` is one of DataSpec's, or ``text`` (``files`` with one text a line); ``debian-sections`` are here the
    descriptions of all sections that are no class. ``text`` names the column; ``translation.en`` reaches a nested one.
    ``limit`` is how many distinct texts are drawn; texts that are samples, held out or not, are never among them.
    """

    source: Literal["debian-sections", "jsonl", "csv", "text", "hf"]
    files: Tuple[str, ...] = ()
    name: Optional[str] = None
    config: Optional[str] = None
    split: str = "train"
    text: str = "text"
    limit: int = 10000

    def __post_init__(self) -> None:
        _check_source(self.source, self.files, self.name)
        at_least(self.limit, 1, "limit")


@dataclass(frozen=True)
class DataSpec:
    """Labelled texts, or for a language model texts without labels, and how they become samples.

    ``source`` is ``debian-sections`` (package descriptions, labelled by section), ``jsonl`` or ``csv`` (``files``, one
    or several paths relative to the recipe), ``text`` (``files`` with one text a line, without labels) or ``hf``
    (``name`` and ``config`` of a Hugging Face data set). ``text`` and ``label`` name the columns (a language model asks
    for no labels, and takes the descriptions of all sections); ``a.b`` reaches a nested one. ``labels`` keeps only
    these classes, in this order; empty means all, sorted. Where words are labelled (task: tokens), the source is
    ``jsonl`` and the column ``spans`` holds a text's spans, ``{"start", "end", "label"}`` each, in characters from 0 to
    before the end; ``labels`` are then theirs, or all tags (O, B-…, I-…) in the order of a checkpoint that knows them.
    ``test`` and ``validation`` are how many samples are held out, ``train`` caps the rest (0: all of it). ``unlabeled``
    are more texts to distill on. ``lengths`` are the length buckets in tokens, smallest first; the last one truncates.
    With ``buckets``, that many are chosen by the training texts instead, so that padding is least, up to the last one
    given. ``lowercase`` and ``truncation_side``, the end at which long texts are cut, hold in training and on the
    device. With ``windows``, a classifier reads them whole there, one window after the other; in training they are cut
    all the same.
    """

    source: Literal["debian-sections", "jsonl", "csv", "text", "hf"]
    files: Tuple[str, ...] = ()
    name: Optional[str] = None
    config: Optional[str] = None
    split: str = "train"
    text: str = "text"
    label: str = "label"
    spans: str = "spans"
    labels: Tuple[str, ...] = ()
    lowercase: bool = False
    train: int = 0
    validation: int = 500
    test: int = 2000
    lengths: Tuple[int, ...] = (16, 32, 64, 128)
    buckets: int = 0
    truncation_side: Literal["right", "left"] = "right"
    windows: Optional[Windows] = None
    unlabeled: Optional[Unlabeled] = None

    def __post_init__(self) -> None:
        _check_source(self.source, self.files, self.name)
        if not self.lengths or list(self.lengths) != sorted(set(self.lengths)) or self.lengths[0] < 4:
            raise SpecError(
                "length buckets rise, and start at 4 tokens or more", where="$.lengths", given=list(self.lengths)
            )
        if self.windows is not None and self.windows.overlap > self.lengths[-1] // 2:
            raise SpecError(
                "windows share more than half of their tokens",
                where="$.windows.overlap",
                given=self.windows.overlap,
                allowed="up to {}, half of the last length".format(self.lengths[-1] // 2),
            )
        at_least(self.buckets, 0, "buckets")
        at_least(self.train, 0, "train")
        at_least(self.validation, 2, "validation")
        at_least(self.test, 1, "test")


def _check_source(source: str, files: Tuple[str, ...], name: Optional[str]) -> None:
    if source in ("jsonl", "csv", "text") and not files:
        raise SpecError("source {!r} needs files".format(source), where="$.files", remedy="files: [mine.jsonl]")
    if source == "hf" and not name:
        raise SpecError("source 'hf' needs a data set's name", where="$.name", remedy="name: ag_news")
