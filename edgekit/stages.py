"""Every stage is cached by the hash of its inputs: an interrupted build goes on where it was.

A stage's folder appears under its final name by one rename, when it is whole. Until then its work lies beside it under
``.part`` and is handed to the next attempt, so that training can resume from its checkpoints. What went in and what
came out is recorded for ``recipe.lock``, cached or not.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError
from edgekit.spec import codec
from edgekit.spec.lock import Stage
from edgekit.spec.progress import Report, quiet

#: Bytes; a disk with less is full.
ROOM = 1 << 20


def files_digest(folder: Path) -> str:
    """SHA-256 (hex) over the names and contents of all files below ``folder``."""
    total = hashlib.sha256()
    for file in sorted(one for one in folder.rglob("*") if one.is_file()):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{file.relative_to(folder).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


@dataclass
class Stages:
    """The cache of one home. ``reused`` and ``made`` list the stages of this build, for the report; ``records`` say
    what each that can be repeated took and gave, and ``watch`` is told each of them."""

    folder: Path
    report: Report = quiet
    reused: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    records: list[Stage] = field(default_factory=list)
    watch: Callable[[Stage], None] = lambda stage: None

    def run(
        self,
        name: str,
        inputs: Any,
        make: Callable[[Path], object],
        output: Callable[[Path], str] | None = files_digest,
    ) -> Path:
        """The folder of stage ``name`` for these ``inputs`` (spec values or JSON); ``make`` fills a new one.

        ``output`` gives the digest of what came out, without times it took; ``None`` for a stage that measures.
        """
        digest = codec.digest({"stage": name, "inputs": inputs})
        folder = self._folder(name, digest, make)
        if output is not None:
            record = Stage(name, digest, output(folder))
            if record not in self.records:
                self.records.append(record)
                self.watch(record)
        return folder

    def _folder(self, name: str, digest: str, make: Callable[[Path], object]) -> Path:
        final = self.folder / f"{name}-{digest[:24]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(final.with_name(final.name + ".lock")):
            if final.is_dir():
                self.reused.append(name)
                self.report(f"{name}: cached", None)
                return final
            part = final.with_name(final.name + ".part")
            part.mkdir(exist_ok=True)
            with _full_disk_told(part):
                make(part)
            _sync_tree(part)
            part.rename(final)
            self.made.append(name)
        return final

    def forget(self, folder: Path) -> None:
        """Drop a stage, so that the next build makes it anew."""
        shutil.rmtree(folder, ignore_errors=True)


@cache
def code_digest(*packages: str) -> str:
    """A hash of the source text of edgekit's ``packages`` (``compress``, ``convert``…): new code, new stage."""
    root = Path(__file__).parent
    total = hashlib.sha256()
    for package in packages:
        for file in sorted((root / package).rglob("*.py")):
            total.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


@cache
def versions(*distributions: str) -> dict[str, str]:
    """Installed versions by distribution name; those not installed are left out."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _full_disk_told(folder: Path) -> Iterator[None]:
    """Libraries tell of a full disk each in a way of their own, safetensors and torch without its errno: where a stage
    died and there is no room left, raise the OSError that it is."""
    try:
        yield
    except (EdgekitError, OSError):
        raise
    except Exception as error:
        if shutil.disk_usage(folder).free < ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise


def _sync_tree(folder: Path) -> None:
    """Make what was written durable before the rename says that it is whole."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
