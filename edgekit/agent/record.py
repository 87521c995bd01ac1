"""What the device knows of its releases, read from their folders."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional, Tuple

from edgekit.agent import files
from edgekit.errors import BundleError, DeviceError, SpecError
from edgekit.spec import codec, wire
from edgekit.spec.manifest import Blob, Manifest
from edgekit.spec.setting import Setting


@dataclass(frozen=True)
class Record:
    """``previous`` is the release that was current when this one was activated; ``size`` in bytes of all its blobs;
    ``setting`` how its runtime works on this board, ``memory`` what the manifest estimates of its artifact."""

    release: str
    name: str
    artifact: str
    runtime: str
    blobs: Tuple[Blob, ...]
    size: int
    serial: int
    installed: float
    state: wire.State = "staged"
    previous: Optional[str] = None
    setting: Setting = field(default_factory=Setting)
    memory: Optional[int] = None


def folder(root: Path, release: str) -> Path:
    return root / "releases" / files.hash_name(release)


def read(root: Path, release: str) -> Record:
    """The record of a release. Raises DeviceError where the device does not have it, or it cannot be read."""
    try:
        return codec.loads(Record, (folder(root, release) / "state.json").read_bytes())
    except (OSError, SpecError) as error:
        raise DeviceError(
            "the device does not have this release", given=release, remedy="see 'edgekit status' for those it has"
        ) from error


def manifest(root: Path, release: str) -> Manifest:
    """The manifest of a release. Raises DeviceError where it cannot be read."""
    try:
        return codec.loads(Manifest, (folder(root, release) / "manifest.json").read_bytes())
    except (OSError, SpecError) as error:
        raise DeviceError("the release cannot be read: {}".format(error), given=release) from error


def records(root: Path) -> List[Record]:
    """All readable releases, newest first."""
    found = []
    for path in (root / "releases").iterdir():
        try:
            found.append(read(root, path.name))
        except (BundleError, DeviceError):
            continue
    return sorted(found, key=lambda one: one.serial, reverse=True)


def current(root: Path) -> Optional[str]:
    """The digest that ``current`` points to, or ``None``."""
    try:
        return Path(os.readlink(root / "current")).name
    except FileNotFoundError:
        return None


def previous(root: Path) -> Optional[str]:
    """Where ``rollback`` goes: the release the current one replaced, else the newest confirmed one before it."""
    name = current(root)
    confirmed = [one for one in records(root) if one.state == "confirmed" and one.release != name]
    if name is None:
        return None
    try:
        mine = read(root, name)
    except DeviceError:
        return confirmed[0].release if confirmed else None
    if any(one.release == mine.previous for one in confirmed):
        return mine.previous
    return next((one.release for one in confirmed if one.serial < mine.serial), None)


def state_of(root: Path, release: str) -> Optional[wire.State]:
    try:
        return read(root, release).state
    except DeviceError:
        return None
