"""Results kept as JSON files in one folder, named by when, what and where: ``20261122T231900Z-minilm-rpi4.json``."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

from edgekit.errors import SpecError, UsageError, nearest
from edgekit.spec import codec
from edgekit.spec.result import Result


def save(result: Result, folder: Path) -> Path:
    """Write the result, whole or not at all, and return its file. An equal result is not kept twice."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(codec.encode(result), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    descriptor, temporary = tempfile.mkstemp(prefix=".result.", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        return _take_in(Path(temporary), _stem(result), text)
    finally:
        Path(temporary).unlink(missing_ok=True)


def read(file: Path) -> Result:
    """The result in ``file``. Raises UsageError where there is none, SpecError where it is damaged."""
    try:
        return codec.loads(Result, file.read_bytes(), where=str(file))
    except FileNotFoundError:
        raise UsageError("there is no such result", given=str(file)) from None
    except OSError as error:
        raise UsageError(f"the result cannot be read: {error.strerror}", given=str(file)) from error
    except SpecError as error:
        error.remedy = error.remedy or "delete the file, or restore it: 'edgekit bench' writes a new one"
        raise


def files(folder: Path, target: str | None = None) -> list[Path]:
    """The results kept for ``target`` (``None``: for any), newest first."""
    kept = [one for one in folder.glob("*.json") if not one.name.startswith(".")]
    if target is not None:
        kept = [one for one in kept if re.search(rf"-{re.escape(target)}(~\d+)?$", one.stem)]
    return sorted(kept, key=lambda one: (one.stem.partition("~")[0][:16], one.stat().st_mtime_ns), reverse=True)


def load(folder: Path, which: str | None = None, target: str | None = None) -> Result:
    """A kept result: a file, the beginning of a kept one's name, or the newest.

    Raises UsageError where none or several fit, SpecError where the file is damaged.
    """
    if which is not None and Path(which).is_file():
        return read(Path(which))
    kept = files(folder, target)
    if which is None:
        if not kept:
            of = f" of target {target}" if target else ""
            raise UsageError(f"no result{of} is kept", where=str(folder), remedy="measure one: edgekit bench")
        return read(kept[0])
    fitting = [one for one in kept if one.name == which or one.stem == which] or [
        one for one in kept if one.name.startswith(which)
    ]
    if len(fitting) == 1:
        return read(fitting[0])
    if fitting:
        raise UsageError("several results begin so", given=which, allowed=[one.stem for one in fitting])
    raise UsageError("no such result", given=which, remedy=nearest(which, [one.stem for one in kept]))


def _stem(result: Result) -> str:
    created = re.sub(r"[^0-9TZ]", "", result.created)
    return f"{created}-{re.sub(r'[^A-Za-z0-9._-]+', '-', result.name)}-{result.target}"


def _take_in(temporary: Path, stem: str, text: str) -> Path:
    """Link in under the first free name: a kept result is never overwritten."""
    number = 1
    while True:
        file = temporary.parent / (f"{stem}.json" if number == 1 else f"{stem}~{number}.json")
        try:
            os.link(temporary, file)
            return file
        except FileExistsError:
            if file.read_text("utf-8") == text:
                return file
            number += 1
