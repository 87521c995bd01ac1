"""Where recipes and targets lie, and which file a name means."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import SpecError, nearest

_PACKAGE = Path(__file__).resolve().parents[1]


def packaged(kind: str) -> Path:
    """The folder of the ``recipes`` or ``targets`` that come with edgekit: a checkout's own, else the wheel's."""
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / kind).is_dir():
        return checkout / kind
    return _PACKAGE / "_files" / kind


def folders(kind: str, extra: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Packaged first, so that nobody's file changes what ``rpi4`` means; then ``extra`` and ``$EDGEKIT_HOME``."""
    home = os.environ.get("EDGEKIT_HOME")
    own = [*extra, *([Path(home) / kind] if home else [])]
    return tuple(dict.fromkeys([packaged(kind), *own]))


def known(kind: str, extra: Sequence[Path] = ()) -> dict[str, Path]:
    """Every file by its name (the stem), in alphabetical order."""
    found: dict[str, Path] = {}
    for folder in folders(kind, extra):
        for file in sorted(folder.glob("*.yaml")):
            found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def find(kind: str, name: str, extra: Sequence[Path] = ()) -> Path:
    """The file that ``name`` means: a path to one, or the name of a known one. Raises SpecError."""
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if path.is_dir():
            raise SpecError("this is a folder, not a file", where=name)
        raise SpecError("no such file", where=name, remedy=nearest(path.stem, known(kind, extra)))
    files = known(kind, extra)
    if name not in files:
        noun = kind.removesuffix("s")
        raise SpecError(
            f"unknown {noun} {name!r}",
            given=name,
            allowed=", ".join(files) or "none",
            remedy=f"{nearest(name, files)} 'edgekit {kind}' lists them; a path to a YAML file works too",
        )
    return files[name]
