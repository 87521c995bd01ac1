"""Write a bundle: whole, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgekit.bundle import sign as signing
from edgekit.bundle.folder import BLOBS, MANIFEST, Entry, entries, read, refuse_strays
from edgekit.errors import BundleError, UsageError
from edgekit.spec import codec
from edgekit.spec.manifest import Manifest


def write(folder: Path, manifest: Manifest, blobs: Mapping[str, Path], key: Path | None = None) -> str:
    """Write the bundle at ``folder``, replacing the bundle that is there, and return its digest.

    ``blobs`` maps each SHA-256 the manifest names to a file, which is hard-linked where the file system allows, else
    copied. With ``key`` the bundle is signed before it appears, so that no unsigned one is ever seen.

    Raises BundleError where a blob was not given or is not what the manifest says, UsageError where something other
    than a bundle is in the way.
    """
    wanted = entries(manifest)
    missing = [one for one in wanted if one.blob.sha256 not in blobs]
    if missing:
        raise BundleError(
            f"the manifest names a blob that was not given: {missing[0].what}",
            given=f"{len(wanted) - len(missing)} of {len(wanted)} blobs",
            allowed=missing[0].blob.sha256,
        )
    folder = folder.absolute()
    _refuse_other(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    text = codec.dumps(manifest).encode()
    # hidden, so that an interrupted write is never found as a bundle
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fresh = temporary / "new"
        (fresh / BLOBS).mkdir(parents=True)
        for entry in wanted:
            _place(blobs[entry.blob.sha256], fresh / BLOBS / entry.blob.sha256, entry)
        (fresh / MANIFEST).write_bytes(text)
        if key is not None:
            signing.sign(fresh, key)
        for path in (*fresh.rglob("*"), fresh):
            _sync(path)
        _exchange(folder, fresh, temporary / "old")
        _sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return hashlib.sha256(text).hexdigest()


def blob_hash(file: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_other(folder: Path) -> None:
    """What is replaced is deleted: it must be a bundle and nothing else, or an empty folder."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        refuse_strays(folder, read(folder)[0])
    except BundleError as error:
        raise UsageError(
            "something other than a bundle is in the way",
            where=str(folder),
            given=error.message,
            remedy="name another folder with -o",
        ) from error


def _exchange(folder: Path, fresh: Path, old: Path) -> None:
    """Put ``fresh`` in the place of ``folder``, which becomes ``old``, or comes back where that fails."""
    try:
        if folder.exists():
            os.rename(folder, old)
        os.rename(fresh, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        raise


def _place(source: Path, destination: Path, entry: Entry) -> None:
    try:
        os.link(source.resolve(), destination)
    except OSError:
        try:
            shutil.copyfile(source, destination)
        except OSError as error:
            raise BundleError(f"the {entry.what} cannot be read: {error.strerror}", where=str(source)) from error
    size = destination.stat().st_size
    if size != entry.blob.size or blob_hash(destination) != entry.blob.sha256:
        raise BundleError(
            f"the file given as {entry.what} is not what the manifest says",
            where=str(source),
            given=f"{size} bytes, sha256 {blob_hash(destination)}",
            allowed=f"{entry.blob.size} bytes, sha256 {entry.blob.sha256}",
            remedy="build again: a stage's output was changed after it was hashed",
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
