"""The layout of a bundle: ``manifest.json``, ``manifest.json.sig`` and ``blobs/<sha256>``; read and find them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import BundleError, SpecError
from edgekit.spec import codec
from edgekit.spec.manifest import Blob, Manifest

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
BLOBS = "blobs"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """A blob and what it is to a person: ``tflite artifact minilm-w8_a8_static``."""

    blob: Blob
    what: str


@dataclass(frozen=True)
class Found:
    """A bundle on disk; ``written`` is its manifest's modification time in ns since the epoch."""

    folder: Path
    digest: str
    manifest: Manifest
    written: int


def blob_file(folder: Path, blob: Blob) -> Path:
    return folder / BLOBS / blob.sha256


def entries(manifest: Manifest) -> tuple[Entry, ...]:
    """Each blob the manifest names, once, in the order it is named.

    Raises BundleError where a hash is none (it becomes a file name) or two sizes are given for one hash.
    """
    named: list[Entry] = []
    for one in manifest.artifacts:
        named.append(Entry(one.blob, f"{one.format} artifact {one.name}"))
        named.append(Entry(one.tokenizer, f"tokenizer of {one.name}"))
    named += [Entry(manifest.golden, "golden cases"), Entry(manifest.samples, "held-out samples")]
    unique: dict[str, Entry] = {}
    for entry in named:
        if not _SHA256.fullmatch(entry.blob.sha256):
            raise BundleError(
                f"the hash of the {entry.what} is no SHA-256",
                given=entry.blob.sha256,
                allowed="64 lower-case hexadecimal digits",
                remedy="build the bundle again",
            )
        known = unique.setdefault(entry.blob.sha256, entry)
        if known.blob.size != entry.blob.size:
            raise BundleError(
                f"the manifest gives one blob two sizes: as {known.what} and as {entry.what}",
                given=f"{known.blob.size} and {entry.blob.size} bytes for {entry.blob.sha256}",
                remedy="build the bundle again",
            )
    return tuple(unique.values())


def refuse_strays(folder: Path, manifest: Manifest) -> None:
    """Raise BundleError for the first thing in ``folder`` that is no part of the bundle with this manifest."""
    allowed = {MANIFEST, SIGNATURE, BLOBS, *(f"{BLOBS}/{one.blob.sha256}" for one in entries(manifest))}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in allowed:
            raise BundleError(
                f"the bundle holds a file that its manifest does not name: {name}",
                where=str(folder),
                remedy="delete that file if you put it there, else fetch the bundle again",
            )


def manifest_bytes(folder: Path) -> bytes:
    """The bytes of a bundle's manifest; BundleError where the folder is no bundle."""
    try:
        return (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        reason = "has no manifest.json" if folder.is_dir() else "is no folder" if folder.exists() else "does not exist"
        raise BundleError(
            f"not a bundle: the path {reason}",
            where=str(folder),
            allowed="a folder with manifest.json, manifest.json.sig and blobs/",
            remedy="name a folder that 'edgekit build' wrote",
        ) from None
    except OSError as error:
        raise BundleError(f"the manifest cannot be read: {error.strerror}", where=str(folder)) from error


def parse(data: bytes, folder: Path) -> tuple[Manifest, str]:
    """Manifest and digest from the manifest's bytes. Raises BundleError where they are no manifest."""
    try:
        manifest = codec.loads(Manifest, data)
    except SpecError as error:
        raise BundleError(
            f"the manifest does not read: {error.message}",
            where=f"{folder / MANIFEST} {error.where or '$'}",
            given=error.given,
            allowed=error.allowed,
            remedy="build the bundle again, or update edgekit where a newer one wrote it",
        ) from error
    return manifest, hashlib.sha256(data).hexdigest()


def read(folder: Path) -> tuple[Manifest, str]:
    """Manifest and digest of a bundle, *without* a check of signature or blobs: for listing and inspecting.

    Raises BundleError where the folder is no bundle or its manifest does not decode.
    """
    return parse(manifest_bytes(folder), folder)


def find(folder: Path, target: str | None = None) -> list[Found]:
    """The bundles directly below ``folder`` built for ``target`` (``None``: for any), newest first.

    A folder with a manifest that does not read raises BundleError: passing over it would deploy an older one unasked.
    """
    found = []
    for manifest_file in sorted(folder.glob(f"*/{MANIFEST}")):
        place = manifest_file.parent
        if place.name.startswith("."):  # an interrupted write
            continue
        manifest, digest = read(place)
        if target is None or manifest.target == target:
            found.append(Found(place, digest, manifest, manifest_file.stat().st_mtime_ns))
    return sorted(found, key=lambda one: (-one.written, one.folder.name))
