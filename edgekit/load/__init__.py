"""YAML → spec; nothing else reads YAML. Every error says file, line and ``$.path``, what was given, what is allowed.

A recipe or target is named by the path of its file, or by its name where edgekit knows it: packaged with edgekit, or in
``$EDGEKIT_HOME/recipes`` and ``$EDGEKIT_HOME/targets``, or in the folders the caller adds as ``extra``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import SpecError
from edgekit.load import files
from edgekit.load.overrides import override
from edgekit.load.schema import schema as _schema
from edgekit.load.validate import Problems, validate
from edgekit.load.yaml_text import Document, parse
from edgekit.spec.recipe import Recipe
from edgekit.spec.target import Target

__all__ = ["Problems", "recipe", "recipe_file", "recipes", "schema", "target", "targets"]


def recipe(name: str | Path, overrides: Sequence[str] = (), *, extra: Sequence[Path] = ()) -> Recipe:
    """The recipe of a file or a known name, with each ``dotted.path=value`` of ``overrides`` set first.

    Paths inside it are relative to its file, which ``recipe_file`` names; ``extra`` are more folders to look in.
    Raises SpecError (UsageError for an override without ``=``).
    """
    document = override(_read(recipe_file(name, extra=extra)), overrides)
    return validate(document, Recipe)


def recipe_file(name: str | Path, *, extra: Sequence[Path] = ()) -> Path:
    """The file a recipe's path or name means. Raises SpecError with the nearest names."""
    return files.find("recipes", str(name), extra)


def target(name: str | Path, *, extra: Sequence[Path] = ()) -> Target:
    """The target of a file or a known name. Raises SpecError with the nearest names."""
    return validate(_read(files.find("targets", str(name), extra)), Target)


def recipes(*, extra: Sequence[Path] = ()) -> tuple[tuple[Path, Recipe], ...]:
    """All known recipes with their files, by name."""
    return tuple((file, recipe(file)) for file in files.known("recipes", extra).values())


def targets(*, extra: Sequence[Path] = ()) -> tuple[Target, ...]:
    """All known targets, by name."""
    return tuple(target(file) for file in files.known("targets", extra).values())


def schema(kind: type) -> dict[str, Any]:
    """JSON Schema (Draft 2020-12) for editors: ``schema(Recipe)``, ``schema(Target)``."""
    return _schema(kind)


def _read(file: Path) -> Document:
    try:
        return parse(file.read_bytes(), str(file))
    except OSError as error:
        raise SpecError(f"cannot read it: {error.strerror}", where=str(file)) from error
