"""Samples: texts split into train, validation and test, as a folder that any later stage reads.

``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` hold ``{"text", "label"}`` (the label's index),
``samples.json`` the labels, the counts, the digest of all of it, and where it comes from. A language model's samples
have no labels, and the index 0; where words are labelled, the index is 0 and a text may have ``spans``. Texts without
labels beside labelled ones are in ``unlabeled.jsonl``: one JSON string a line.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.data import debian, files, hub, spans, unlabeled
from edgekit.data.clean import NO_LABEL, Labelled, clean, distinct
from edgekit.data.split import Splits, split
from edgekit.errors import DataError, SpecError, nearest
from edgekit.spec import codec
from edgekit.spec.data import DataSpec
from edgekit.spec.progress import Report, quiet
from edgekit.spec.spans import Span
from edgekit.spec.task import CLASSIFY, EMBED, LANGUAGE, TOKENS, Task

SCHEMA = 1
PARTS = ("train", "validation", "test")
UNLABELED = "unlabeled.jsonl"


@dataclass(frozen=True)
class Sample:
    """A cleaned text and the index of its label, or 0 and its ``spans`` where words are labelled."""

    text: str
    label: int
    spans: tuple[Span, ...] = ()


Parts = tuple[list[Sample], list[Sample], list[Sample]]
#: Labels, train, validation and test, and where they come from.
Prepared = tuple[tuple[str, ...], Parts, dict[str, str]]


@dataclass(frozen=True)
class Index:
    """``samples.json``. ``digest`` is the SHA-256 over labels and samples; ``counts`` are samples by part. ``task`` is
    what they teach, where the labels alone do not say so."""

    labels: tuple[str, ...]
    counts: dict[str, int]
    digest: str
    provenance: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA
    task: Task | None = None


@dataclass(frozen=True)
class Samples:
    """All samples of a build, in memory, and the folder they stand in. ``unlabeled`` texts are none of the others.
    ``labels`` are empty where a language model learns from the texts alone, and tags where words are labelled;
    ``stated`` is the task where they alone do not say it."""

    folder: Path
    labels: tuple[str, ...]
    digest: str
    train: list[Sample]
    validation: list[Sample]
    test: list[Sample]
    provenance: dict[str, str] = field(default_factory=dict)
    unlabeled: list[str] = field(default_factory=list)
    stated: Task | None = None

    @property
    def task(self) -> Task:
        """What they teach."""
        return self.stated or (CLASSIFY if self.labels else LANGUAGE)


def prepare(
    spec: DataSpec, base: Path, out: Path, seed: int, report: Report = quiet, *, task: Task = CLASSIFY
) -> Samples:
    """Read the source, clean, split and write the folder ``out`` (replaced whole, or not at all).

    Args:
        base: the folder that relative paths of ``spec`` start from.
        seed: decides the split; equal texts and seed give equal samples on every machine, in any input order.
        task: ``language`` and ``embed`` ask for no labels, ``tokens`` for spans.

    Raises DataError where the source cannot be read or cannot be split as asked.
    """
    report(f"reading {spec.source}", 0.0)
    read = {CLASSIFY: _labelled, LANGUAGE: _plain, TOKENS: _spanned, EMBED: _plain}[task]
    labels, (train, validation, test), provenance = read(spec, base, seed, report)
    more: list[str] = []
    if spec.unlabeled is not None:
        report(f"reading {spec.unlabeled.source} without labels", 0.6)
        taken = {one.text for part in (train, validation, test) for one in part}
        more, origin = unlabeled.read(spec.unlabeled, base, spec, taken, seed)
        provenance |= {f"unlabeled {name}": value for name, value in origin.items()}
    digest = _digest(labels, (train, validation, test), more, _stated(task))
    samples = Samples(out, labels, digest, train, validation, test, provenance, more, _stated(task))
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
    if _digest(index.labels, (train, validation, test), more, index.task) != index.digest:
        raise DataError(
            "the samples were changed after they were prepared", where=str(folder), remedy="delete the folder"
        )
    return Samples(folder, index.labels, index.digest, train, validation, test, index.provenance, more, index.task)


def _stated(task: Task) -> Task | None:
    """The task, where labels, or that there are none, do not tell it."""
    return None if task in (CLASSIFY, LANGUAGE) else task


def _labelled(spec: DataSpec, base: Path, seed: int, report: Report) -> Prepared:
    rows, provenance = _source(spec, base)
    report(f"cleaning {len(rows)} texts", 0.4)
    cleaned = [(clean(text, spec.lowercase), clean(label)) for text, label in rows]
    kept = distinct((text, label) for text, label in cleaned if text and label)
    labels = _labels(spec, kept)
    numbers = {label: number for number, label in enumerate(labels)}
    parts = split([row for row in kept if row[1] in numbers], spec, seed)
    return labels, _parts(parts, lambda text, label: Sample(text, numbers[label])), provenance


def _plain(spec: DataSpec, base: Path, seed: int, report: Report) -> Prepared:
    texts, provenance = unlabeled.source(spec, base, ())
    rows = list(texts)
    report(f"cleaning {len(rows)} texts", 0.4)
    kept = distinct((text, NO_LABEL) for text in (clean(one, spec.lowercase) for one in rows) if text)
    return (), _parts(split(kept, spec, seed), lambda text, _: Sample(text, 0)), provenance


def _spanned(spec: DataSpec, base: Path, seed: int, report: Report) -> Prepared:
    """The texts as they are cleaned; the tokenizer makes them lower case where that is asked, so that spans stay."""
    rows, provenance = spans.read(spec, base)
    report(f"cleaning {len(rows)} texts", 0.4)
    found = {text: spans.spans_in(each) for text, each in distinct(row for row in rows if row[0])}
    tags = spans.tags(spec, found.values())
    shares = split([(text, NO_LABEL) for text in found], spec, seed)
    parts = _parts(shares, lambda text, _: Sample(text, 0, spans.kept(found[text], tags)))
    spans.check_parts(*([one.spans for one in part] for part in (parts[0], parts[1] + parts[2])))
    return tags, parts, provenance


def _parts(parts: Splits, made: Callable[[str, str], Sample]) -> Parts:
    train, validation, test = ([made(text, label) for text, label in part] for part in parts)
    return train, validation, test


def _source(spec: DataSpec, base: Path) -> tuple[list[Labelled], dict[str, str]]:
    if spec.source == "debian-sections":
        return debian.read(spec.labels)
    if spec.source == "hf":
        return hub.read(spec, base)
    readers = {"jsonl": files.read_jsonl, "csv": files.read_csv}
    rows = [row for name in spec.files for row in readers[spec.source](base / name, spec.text, spec.label)]
    return rows, {"source": spec.source, "files": ", ".join(spec.files)}


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


def _digest(labels: Sequence[str], parts: Sequence[Sequence[Sample]], more: Sequence[str], task: Task | None) -> str:
    # a task that labels and texts do not tell is told
    named = codec.dumps(list(labels)) + (task or "")
    digest = hashlib.sha256(named.encode())
    for part in parts:
        digest.update(b"\n")
        for one in part:
            digest.update(_line(one).encode())
    for text in more:
        digest.update(_text_line(text).encode())
    return digest.hexdigest()


def _line(sample: Sample) -> str:
    told = {"text": sample.text, "label": sample.label}
    return (
        json.dumps({**told, "spans": codec.encode(sample.spans)} if sample.spans else told, ensure_ascii=False) + "\n"
    )


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
    index = Index(samples.labels, _counts(samples), samples.digest, samples.provenance, task=samples.stated)
    (temporary / "samples.json").write_text(json.dumps(codec.encode(index), indent=1, ensure_ascii=False), "utf-8")
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)


def _read_part(file: Path) -> list[Sample]:
    lines = file.read_text("utf-8").split("\n")
    return [codec.loads(Sample, line, where=f"{file}:{n}") for n, line in enumerate(lines, 1) if line]


def _read_texts(file: Path) -> list[str]:
    return [codec.loads(str, line, where=str(file)) for line in file.read_text("utf-8").split("\n") if line]
