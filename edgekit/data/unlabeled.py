"""Texts without labels: cleaned, none of them a sample, and a seeded draw of as many as are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from heapq import nsmallest
from itertools import chain
from pathlib import Path

from edgekit.data import debian, files, hub
from edgekit.data.clean import clean
from edgekit.data.split import fingerprint
from edgekit.errors import DataError
from edgekit.spec.data import DataSpec, Unlabeled

READERS = {"jsonl": files.jsonl_rows, "csv": files.csv_rows, "text": files.text_rows}


def read(
    spec: Unlabeled, base: Path, data: DataSpec, samples: Collection[str], seed: int
) -> tuple[list[str], dict[str, str]]:
    """The texts that ``spec`` names, and where they come from.

    Args:
        data: says which sections are classes, and whether texts are lower-cased.
        samples: the labelled texts, cleaned: none of them is taken, however written, for those that are held out must
            stay unseen.

    Raises DataError where the source cannot be read or nothing is left of it.
    """
    classes = data.labels or debian.SECTIONS if data.source == spec.source else ()
    found, provenance = source(spec, base, classes)
    cleaned = (clean(one, data.lowercase) for one in found)
    taken = {one.casefold() for one in samples}
    drawn = draw((one for one in cleaned if one and one.casefold() not in taken), spec.limit, seed)
    if not drawn:
        raise DataError("no text is left that is not a sample already", where="$.data.unlabeled", given=spec.source)
    return drawn, provenance


def draw(texts: Iterable[str], limit: int, seed: int) -> list[str]:
    """The ``limit`` distinct texts of the least hash: the same ones in any input order, and in memory twice as many at
    the most, however many there are."""
    kept: dict[str, str] = {}
    for text in texts:
        kept[fingerprint(text, seed)] = text
        if len(kept) > 2 * limit:
            kept = dict(nsmallest(limit, kept.items()))
    return [text for _, text in nsmallest(limit, kept.items())]


def source(spec: Unlabeled | DataSpec, base: Path, classes: Collection[str]) -> tuple[Iterator[str], dict[str, str]]:
    """The texts of a source as they stand there, and where they come from; of Debian's sections not those that are
    ``classes``."""
    if spec.source == "debian-sections":
        told = ", other sections" if classes else ""
        return debian.others(classes), {"source": f"apt-cache dumpavail{told}"}
    if spec.source == "hf":
        return hub.unlabeled(spec, base)
    rows = chain.from_iterable(READERS[spec.source](base / name) for name in spec.files)
    return files.unlabeled(rows, spec.text), {"source": spec.source, "files": ", ".join(spec.files)}
