"""Blobs by content, and runtimes unpacked from wheels.

blobs/<sha256>            whole and verified
incoming/<sha256>.part    arriving by file transfer
runtimes/<digest>/        wheels unpacked side by side: one entry for PYTHONPATH, with RUNTIME_FILE in it
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Iterable, Optional, Set, Tuple

from edgekit.agent import files, log
from edgekit.errors import BundleError, DeviceError, SpecError
from edgekit.spec import codec, wire
from edgekit.spec.manifest import Blob
from edgekit.spec.progress import Report, quiet

RUNTIME_FILE = "edgekit-runtime.json"
OLD_PART_S = 7 * 24 * 3600.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Runtime:
    """What stands in ``RUNTIME_FILE``: the wheels it came from, and the bytes it takes unpacked."""

    wheels: Tuple[Blob, ...]
    size: int


def prepare(root: Path) -> None:
    """Make the folders of an empty root."""
    for name in ("blobs", "incoming", "runtimes", "releases"):
        (root / name).mkdir(parents=True, exist_ok=True)


def blob_path(root: Path, blob: Blob) -> Path:
    return root / "blobs" / files.hash_name(blob.sha256)


def part_path(root: Path, blob: Blob) -> Path:
    return root / "incoming" / (files.hash_name(blob.sha256) + ".part")


def has(root: Path, blob: Blob) -> bool:
    """Whether the blob was taken in with the size it should have; its hash was checked then."""
    path = blob_path(root, blob)
    return path.is_file() and path.stat().st_size == blob.size


def need(root: Path, blob: Blob, what: str) -> Path:
    """The path of a blob. Raises DeviceError where the store lacks it."""
    if not has(root, blob):
        raise DeviceError(
            "the device lacks {}".format(what), given=blob.sha256, remedy="send it first ('missing', then 'commit')"
        )
    return blob_path(root, blob)


def missing(root: Path, blobs: Iterable[Blob]) -> wire.Missing:
    """Which blobs are not in the store, and how many bytes of each have arrived."""
    absent = tuple(one for one in dict.fromkeys(blobs) if not has(root, one))
    parts = {one.sha256: part_path(root, one) for one in absent}
    return wire.Missing(absent, {name: path.stat().st_size for name, path in parts.items() if path.is_file()})


def verify(path: Path, blob: Blob) -> None:
    """Raises BundleError unless the file's size and SHA-256 are the blob's."""
    hasher, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            hasher.update(chunk)
            size += len(chunk)
    found = hasher.hexdigest()
    if (found, size) != (blob.sha256, blob.size):
        raise BundleError(
            "a blob is damaged",
            where=blob.sha256,
            given="{} ({} bytes)".format(found, size),
            allowed="{} ({} bytes)".format(blob.sha256, blob.size),
            remedy="send it again",
        )


def commit(root: Path, blobs: Iterable[Blob], report: Report = quiet) -> None:
    """Verify what arrived and take it in. A part with a wrong hash is deleted and named in the BundleError."""
    for blob in blobs:
        part = part_path(root, blob)
        if not part.is_file():
            need(root, blob, "a blob that was to be committed")
            continue
        try:
            verify(part, blob)
        except BundleError as error:
            part.unlink()
            log.write(root, "blob refused", blob=blob.sha256, why=error.message)
            raise
        files.sync(part)
        os.replace(part, blob_path(root, blob))
        report("took in {}".format(blob.sha256[:12]), None)
    files.sync(root / "blobs")
    files.sync(root / "incoming")


def runtime_folder(root: Path, runtime: str) -> Optional[Path]:
    """The folder of a runtime; ``None`` for ``""``, the interpreter's own environment. DeviceError where absent."""
    if not runtime:
        return None
    folder = root / "runtimes" / files.folder_name(runtime)
    if not (folder / RUNTIME_FILE).is_file():
        raise DeviceError("the device lacks this runtime", given=runtime, remedy="send its wheels and 'unpack' them")
    return folder


def unpack(root: Path, request: wire.Unpack, report: Report = quiet) -> None:
    """Unpack wheels into one runtime folder; nothing happens where it is there already.

    Raises BundleError for a file that is no wheel or would leave the folder, DeviceError for a wheel not in the store.
    """
    final = root / "runtimes" / files.folder_name(request.runtime)
    if (final / RUNTIME_FILE).is_file():
        return
    wheels = [need(root, one, "a wheel of the runtime") for one in request.wheels]
    folder = files.temporary_folder(final.parent)
    try:
        size = 0
        for number, wheel in enumerate(wheels):
            report("unpacking wheel {} of {}".format(number + 1, len(wheels)), number / len(wheels))
            size += _extract(wheel, folder)
        files.write(folder / RUNTIME_FILE, codec.dumps(Runtime(request.wheels, size)))
        # thousands of small files: one flush of the file system is far cheaper than one each
        os.sync()
        os.chmod(folder, 0o755)
        os.rename(folder, final)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    files.sync(final.parent)
    log.write(root, "runtime unpacked", runtime=request.runtime, bytes=size)


def _extract(wheel: Path, folder: Path) -> int:
    """Unpack one wheel (PEP 427) as pip would place purelib and platlib; answers the bytes written."""
    size = 0
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                place = _place(member, wheel.name)
                if place is None or member.is_dir():
                    continue
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, _CHUNK)
                size += member.file_size
    except zipfile.BadZipFile as error:
        raise BundleError("not a wheel: {}".format(error), where=wheel.name) from error
    return size


def _place(member: zipfile.ZipInfo, wheel: str) -> Optional[PurePosixPath]:
    """Where a member goes, relative to the runtime folder; ``None`` for scripts and headers, which nothing runs."""
    path = PurePosixPath(member.filename)
    link = stat.S_ISLNK(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename or link or not path.parts:
        raise BundleError("a wheel reaches outside its folder", where=wheel, given=member.filename)
    if path.parts[0].endswith(".data") and len(path.parts) > 1:
        return PurePosixPath(*path.parts[2:]) if path.parts[1] in ("purelib", "platlib") and path.parts[2:] else None
    return path


def size(root: Path) -> int:
    """Bytes that blobs and runtimes take."""
    blobs = sum(one.stat().st_size for one in (root / "blobs").iterdir() if one.is_file())
    return blobs + sum(one.size for one in (_runtime(path) for path in _runtimes(root)) if one)


def _runtimes(root: Path) -> Tuple[Path, ...]:
    return tuple(one for one in (root / "runtimes").iterdir() if not one.name.startswith(files.TEMPORARY))


def _runtime(folder: Path) -> Optional[Runtime]:
    try:
        return codec.loads(Runtime, (folder / RUNTIME_FILE).read_bytes())
    except (OSError, SpecError):
        return None


def collect(root: Path, blobs: Set[str], runtimes: Set[str]) -> int:
    """Delete all blobs and runtimes but these; wheels of a kept runtime stay, so that they are shipped once.

    Answers how many went.
    """
    doomed = [one for one in _runtimes(root) if one.name not in runtimes]
    for folder in doomed:
        files.remove_folder(folder)
    kept = blobs | {one.sha256 for found in map(_runtime, _runtimes(root)) if found for one in found.wheels}
    stale = [one for one in (root / "blobs").iterdir() if one.name not in kept]
    for path in stale:
        path.unlink()
    files.sync(root / "blobs")
    return len(doomed) + len(stale)


def clear(root: Path) -> int:
    """Remove half-made things and parts nobody went on with for a week; answers how many. Only when alone."""
    places = [root / name for name in ("", "blobs", "incoming", "runtimes", "releases")]
    count = sum(files.clear_temporary(one) for one in places)
    count += sum(files.clear_temporary(one) for one in (root / "releases").iterdir() if one.is_dir())
    for part in (root / "incoming").iterdir():
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > OLD_PART_S:
                part.unlink()
                count += 1
    return count
