"""Texts from a Hugging Face data set: a hub name, a local folder, or the loaders ``json`` and ``csv``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.data.clean import Labelled
from edgekit.data.files import Row, labelled
from edgekit.data.files import unlabeled as texts_of
from edgekit.errors import DataError, MissingExtra
from edgekit.spec.data import DataSpec, Unlabeled


def read(spec: DataSpec, base: Path) -> tuple[list[Labelled], dict[str, str]]:
    """Rows of ``spec.name`` (and ``config``, ``split``), and where they come from.

    A name that is a folder below ``base`` is read from there; ``files`` go to the loaders ``json``, ``csv``, ``text``
    and ``parquet``. Class labels given as numbers become the names the data set gives them.
    Raises DataError where it cannot be had, or has no labels.
    """
    data = _load(spec, base)
    if not {spec.label, spec.label.partition(".")[0]} & set(data.column_names):
        raise DataError(
            f"the data set has no column {spec.label!r}, and to classify each text needs a label",
            where=_where(spec),
            given=spec.label,
            allowed=sorted(data.column_names),
            remedy="name the label's column (label: …); a set without labels can teach by distillation: data.unlabeled",
        )
    return list(labelled(_named(data, spec), spec.text, spec.label)), _provenance(data, spec)


def unlabeled(spec: Unlabeled | DataSpec, base: Path) -> tuple[Iterator[str], dict[str, str]]:
    """Texts of ``spec.name`` (and ``config``, ``split``), one a row, and where they come from. Raises DataError."""
    data = _load(spec, base)
    return texts_of(_rows(data, spec), spec.text), _provenance(data, spec)


def _provenance(data: Any, spec: DataSpec | Unlabeled) -> dict[str, str]:
    stated = {
        "source": "datasets",
        "name": spec.name or "",
        "config": data.info.config_name or "",
        "split": spec.split,
        "version": str(data.info.version or ""),
    }
    return {**stated, "licence": data.info.license} if data.info.license else stated


def _load(spec: DataSpec | Unlabeled, base: Path) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets", "host") from error
    local = base / (spec.name or "")
    name = str(local) if local.is_dir() else spec.name
    files = [str(base / one) for one in spec.files] or None
    progress = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        # no rows of several splits: a split is one table, and its slices (train[:10%]) are one too
        return datasets.load_dataset(name, spec.config, split=spec.split, data_files=files)
    except Exception as error:
        raise DataError(
            f"the data set cannot be loaded: {str(error).strip().splitlines()[0] if str(error) else type(error)}",
            where=_where(spec),
            given=f"name={spec.name!r} config={spec.config!r} split={spec.split!r}",
            remedy="check name, config and split; without internet take a local folder, or name: json with files: […]",
        ) from error
    finally:
        if progress:
            datasets.enable_progress_bars()


def _rows(data: Any, spec: DataSpec | Unlabeled) -> Iterator[Row]:
    return ((row, f"{_where(spec)} row {number}") for number, row in enumerate(data))


def _named(data: Any, spec: DataSpec) -> Iterator[Row]:
    """The rows, with class labels by name."""
    names = getattr(data.features.get(spec.label), "names", None)
    for row, where in _rows(data, spec):
        value = row.get(spec.label)
        if names is not None and isinstance(value, int):
            # the hub's convention for a hidden label
            if not 0 <= value < len(names):
                raise DataError(
                    "the label is not one of the data set's classes: this split is unlabelled",
                    where=where,
                    given=value,
                    allowed=f"0 to {len(names) - 1}",
                    remedy="take a labelled split, such as train",
                )
            row = {**row, spec.label: names[value]}
        yield row, where


def _where(spec: DataSpec | Unlabeled) -> str:
    return "/".join(one for one in (spec.name, spec.config, spec.split) if one)
