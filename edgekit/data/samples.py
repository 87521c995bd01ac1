"""Samples: texts split into train, validation and test, as a folder that any later stage reads.

``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` hold ``{"text", "label"}`` (the label's index),
``samples.json`` the labels, the counts, the digest of all of it, and where it comes from. A language model's samples
have no labels, and the index 0. Texts without labels beside labelled ones are in ``unlabeled.jsonl``: one JSON string a
line.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.data import debian, files, hub, unlabeled
from edgekit.data.clean import NO_LABEL, Labelled, clean, distinct
from edgekit.data.split import split
from edgekit.errors import DataError, SpecError, nearest
from edgekit.spec import codec
from edgekit.spec.data import DataSpec
from edgekit.spec.progress import Report, quiet
from edgekit.spec.task import CLASSIFY, LANGUAGE, Task

SCHEMA = 1
PARTS = ("train", "validation", "test")
UNLABELED = "unlabeled.jsonl"


@dataclass(frozen=True)
class Sample:
    """A cleaned text and the index of its label."""

    text: str
    label: int


@dataclass(frozen=True)
class Index:
    """``samples.json``. ``digest`` is the SHA-256 over labels and samples; ``counts`` are samples by part."""

    labels: tuple[str, ...]
    counts: dict[str, int]
    digest: str
    provenance: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA


@dataclass(frozen=True)
class Samples:
    """All samples of a build, in memory, and the folder they stand in. ``unlabeled`` texts are none of the others.
    ``labels`` are empty where a language model learns from the texts alone."""

    folder: Path
    labels: tuple[str, ...]
    digest: str
    train: list[Sample]
    validation: list[Sample]
    test: list[Sample]
    provenance: dict[str, str] = field(default_factory=dict)
    unlabeled: list[str] = field(default_factory=list)

    @property
    def task(self) -> Task:
        """What they teach."""
        return CLASSIFY if self.labels else LANGUAGE


def prepare(
    spec: DataSpec, base: Path, out: Path, seed: int, report: Report = quiet, *, task: Task = CLASSIFY
) -> Samples:
    """Read the source, clean, split and write the folder ``out`` (replaced whole, or not at all).

    Args:
        base: the folder that relative paths of ``spec`` start from.
        seed: decides the split; equal texts and seed give equal samples on every machine, in any input order.
        task: ``language`` asks for no labels.

    Raises DataError where the source cannot be read or cannot be split as asked.
    """
    report(f"reading {spec.source}", 0.0)
    rows, provenance = _source(spec, base) if task == CLASSIFY else _texts(spec, base)
    report(f"cleaning {len(rows)} texts", 0.4)
    cleaned = [(clean(text, spec.lowercase), clean(label)) for text, label in rows]
    kept = distinct((text, label) for text, label in cleaned if text and (label or task == LANGUAGE))
    labels = _labels(spec, kept) if task == CLASSIFY else ()
    known = set(labels or (NO_LABEL,))
    parts = split([row for row in kept if row[1] in known], spec, seed)
    numbers = {label: number for number, label in enumerate(labels or (NO_LABEL,))}
    train, validation, test = ([Sample(text, numbers[label]) for text, label in part] for part in parts)
    more: list[str] = []
    if spec.unlabeled is not None:
        report(f"reading {spec.unlabeled.source} without labels", 0.6)
        taken = {text for part in parts for text, _ in part}
        more, origin = unlabeled.read(spec.unlabeled, base, spec, taken, seed)
        provenance |= {f"unlabeled {name}": value for name, value in origin.items()}
    digest = _digest(labels, (train, validation, test), more)
    samples = Samples(out, labels, digest, train, validation, test, provenance, more)
    _write(samples)
    report(", ".join(f"{count} {name}" for name, count in _counts(samples).items()), 1.0)
    return samples


def read(folder: Path) -> Samples:
    """The samples that :func:`prepare` wrote. Raises DataError where the folder is incomplete or was changed."""
    try:
        index = codec.loads(Index, (folder / "samples.json").read_text("utf-8"), where=str(folder / "samples.json"))
        train, validation, test = (_read_part(folder / f"{name}.jsonl") for name in PARTS)
        more = _read_texts(folder / UNLABELED) if "unlabeled" in index.counts else []
    except OSError as error:
        raise DataError(f"not a folder of samples: {error.strerror}", where=str(folder)) from error
    except SpecError as error:
        raise DataError(error.message, where=error.where, given=error.given, allowed=error.allowed) from error
    if _digest(index.labels, (train, validation, test), more) != index.digest:
        raise DataError(
            "the samples were changed after they were prepared", where=str(folder), remedy="delete the folder"
        )
    return Samples(folder, index.labels, index.digest, train, validation, test, index.provenance, more)


def _source(spec: DataSpec, base: Path) -> tuple[list[Labelled], dict[str, str]]:
    if spec.source == "debian-sections":
        return debian.read(spec.labels)
    if spec.source == "hf":
        return hub.read(spec, base)
    readers = {"jsonl": files.read_jsonl, "csv": files.read_csv}
    rows = [row for name in spec.files for row in readers[spec.source](base / name, spec.text, spec.label)]
    return rows, {"source": spec.source, "files": ", ".join(spec.files)}


def _texts(spec: DataSpec, base: Path) -> tuple[list[Labelled], dict[str, str]]:
    found, provenance = unlabeled.source(spec, base, ())
    return [(text, NO_LABEL) for text in found], provenance


def _labels(spec: DataSpec, rows: Sequence[Labelled]) -> tuple[str, ...]:
    found = {label for _, label in rows}
    for label in spec.labels:
        if label not in found:
            raise DataError(
                f"no sample has the label {label!r}",
                where="$.data.labels",
                given=label,
                allowed=sorted(found),
                remedy=nearest(label, found),
            )
    return spec.labels or tuple(sorted(found))


def _digest(labels: Sequence[str], parts: Sequence[Sequence[Sample]], more: Sequence[str]) -> str:
    digest = hashlib.sha256(codec.dumps(list(labels)).encode())
    for part in parts:
        digest.update(b"\n")
        for one in part:
            digest.update(_line(one).encode())
    for text in more:
        digest.update(_text_line(text).encode())
    return digest.hexdigest()


def _line(sample: Sample) -> str:
    return json.dumps({"text": sample.text, "label": sample.label}, ensure_ascii=False) + "\n"


def _text_line(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) + "\n"


def _counts(samples: Samples) -> dict[str, int]:
    counts = {name: len(getattr(samples, name)) for name in PARTS}
    return {**counts, "unlabeled": len(samples.unlabeled)} if samples.unlabeled else counts


def _write(samples: Samples) -> None:
    out = samples.folder
    temporary = out.with_name(f".{out.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    parts = {name: getattr(samples, name) for name in PARTS}
    for name, part in parts.items():
        (temporary / f"{name}.jsonl").write_text("".join(_line(one) for one in part), "utf-8")
    if samples.unlabeled:
        (temporary / UNLABELED).write_text("".join(_text_line(one) for one in samples.unlabeled), "utf-8")
    index = Index(samples.labels, _counts(samples), samples.digest, samples.provenance)
    (temporary / "samples.json").write_text(json.dumps(codec.encode(index), indent=1, ensure_ascii=False), "utf-8")
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)


def _read_part(file: Path) -> list[Sample]:
    lines = file.read_text("utf-8").split("\n")
    return [codec.loads(Sample, line, where=f"{file}:{n}") for n, line in enumerate(lines, 1) if line]


def _read_texts(file: Path) -> list[str]:
    return [codec.loads(str, line, where=str(file)) for line in file.read_text("utf-8").split("\n") if line]
