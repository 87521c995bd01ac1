"""Which sample is held out: decided by each text's own hash, so that it never depends on the order of the input."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from edgekit.data.clean import NO_LABEL, Labelled
from edgekit.errors import DataError
from edgekit.spec.data import DataSpec
from edgekit.spec.quantize import Calibration

Splits = tuple[list[Labelled], list[Labelled], list[Labelled]]


def split(rows: Sequence[Labelled], spec: DataSpec, seed: int) -> Splits:
    """Distinct rows → (train, validation, test), each class in its share of all, each part in an order of its own.
    Texts of no label are one class.

    Within a class the texts stand in the order of their hash; a text's place there, as a fraction, decides which part
    takes it: the lowest go to ``test``, the next to ``validation``. Any prefix of a part is a fair draw of it.
    Raises DataError where a class is too small to learn and to be held out, or the held-out parts leave nothing.
    """
    _check(rows, spec)
    classes: defaultdict[str, list[tuple[str, Labelled]]] = defaultdict(list)
    for row in rows:
        classes[row[1]].append((fingerprint(row[0], seed), row))
    places = []
    for members in classes.values():
        for rank, (key, row) in enumerate(sorted(members)):
            places.append(((rank + 0.5) / len(members), key, row))
    places.sort()
    held = spec.test + spec.validation
    end = held + spec.train if spec.train else len(places)
    parts = (places[held:end], places[spec.test : held], places[: spec.test])
    train, validation, test = ([row for _, _, row in sorted(part, key=lambda one: one[1])] for part in parts)
    _check_seen(train, validation + test)
    return train, validation, test


def fingerprint(text: str, seed: int) -> str:
    """Decides a text's place: as good as random, and its own."""
    return hashlib.sha256(f"{seed}\0{text}".encode()).hexdigest()


def _check(rows: Sequence[Labelled], spec: DataSpec) -> None:
    counts: defaultdict[str, int] = defaultdict(int)
    for _, label in rows:
        counts[label] += 1
    if len(counts) < 2 and NO_LABEL not in counts:
        raise DataError(
            "to classify takes two classes or more", given=", ".join(counts) or "none", where="$.data.label"
        )
    single = sorted(label for label, count in counts.items() if count == 1)
    if single:
        raise DataError(
            "a class with one sample can be learned or held out, not both",
            given=", ".join(repr(one) for one in single),
            remedy="add samples of it, or name the classes to keep (labels: […])",
            where="$.data.labels",
        )
    held = spec.test + spec.validation
    if held + len(counts) > len(rows):
        raise DataError(
            "fewer samples than are to be held out, with one a class left to learn from",
            given=f"{len(rows)} distinct texts, {len(counts)} classes, test {spec.test}, validation {spec.validation}",
            allowed=f"test + validation up to {max(0, len(rows) - len(counts))}",
            remedy="add samples, or lower "
            f"data.test (default {DataSpec.test}), data.validation (default {DataSpec.validation}) and, to calibrate "
            f"static int8 on what is left to learn from, convert.calibration.samples (default {Calibration.samples})",
            where="$.data.test",
        )


def _check_seen(train: Sequence[Labelled], held: Sequence[Labelled]) -> None:
    unseen = sorted({label for _, label in held} - {label for _, label in train})
    if unseen:
        raise DataError(
            "no training sample is left of a class that is held out",
            given=", ".join(repr(one) for one in unseen),
            remedy="add samples of it, raise train, lower test and validation, or leave the class out (labels: […])",
            where="$.data",
        )
