"""The devices a user has registered: one JSON file each, in one folder."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from edgekit.errors import UsageError, nearest
from edgekit.spec import codec
from edgekit.spec.device import Device

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def add(folder: Path, device: Device, *, replace: bool = False) -> Path:
    """Write a device's file, whole or not at all. Raises UsageError on a bad name or one that is taken."""
    file = file_of(folder, device.name)
    if file.exists() and not replace:
        raise UsageError(
            "a device of this name is registered already",
            given=device.name,
            remedy=f"choose another name, or 'edgekit device remove {device.name}' first",
        )
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as sink:
            sink.write(codec.dumps(device) + "\n")
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
    return file


def get(folder: Path, name: str) -> Device:
    """Raises UsageError with the nearest names for an unknown one, SpecError for a damaged file."""
    file = file_of(folder, name)
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        known = [one.stem for one in _files(folder)]
        raise UsageError(
            "no such device", given=name, remedy=f"{nearest(name, known)} See 'edgekit device list'."
        ) from None
    return codec.loads(Device, text, where=str(file))


def list_devices(folder: Path) -> tuple[Device, ...]:
    """All registered devices by name. Raises SpecError for a damaged file."""
    return tuple(codec.loads(Device, file.read_bytes(), where=str(file)) for file in _files(folder))


def remove(folder: Path, name: str) -> Device:
    """Forget a device; returns what it was. Raises UsageError for an unknown one."""
    device = get(folder, name)
    file_of(folder, name).unlink(missing_ok=True)
    return device


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.json") if _NAME.fullmatch(file.stem))


def file_of(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise UsageError(
            "not a device name", given=name, allowed="small letters, digits, '.', '_' and '-'; a letter or digit first"
        )
    return folder / f"{name}.json"
