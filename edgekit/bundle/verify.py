"""Trust a bundle or refuse it: first the signature, then every blob; nothing unsigned is ever parsed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
import tempfile
import textwrap
from pathlib import Path

from edgekit.bundle.folder import BLOBS, MANIFEST, SIGNATURE, Entry, entries, manifest_bytes, parse, refuse_strays
from edgekit.bundle.sign import IDENTITY, NAMESPACE, ssh_keygen
from edgekit.errors import BundleError
from edgekit.spec.manifest import Manifest

_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


def verify(folder: Path, allowed_signers: Path) -> tuple[Manifest, str]:
    """Manifest and digest of a bundle that a trusted key signed and whose every blob is whole.

    ``allowed_signers`` is a file as ``ssh-keygen(1)`` describes under ALLOWED SIGNERS (``sign.allow`` writes it).

    Raises BundleError: no bundle, unsigned, signed by an untrusted key, a signature of another manifest, a blob that is
    missing or damaged, a file the manifest does not name.
    """
    data = manifest_bytes(folder)
    _verify_signature(folder, data, allowed_signers)
    manifest, digest = parse(data, folder)
    refuse_strays(folder, manifest)
    for entry in entries(manifest):
        _verify_blob(folder, entry)
    return manifest, digest


def _verify_signature(folder: Path, data: bytes, allowed_signers: Path) -> None:
    try:
        signature = (folder / SIGNATURE).read_bytes()
    except OSError:
        raise BundleError(
            "the bundle is not signed",
            where=str(folder),
            allowed=f"{SIGNATURE} beside {MANIFEST}",
            remedy="build it again with 'edgekit build', which signs",
        ) from None
    if signature != _armor(signature):
        raise BundleError(
            "the signature file is damaged", where=str(folder / SIGNATURE), remedy="fetch the bundle again"
        )
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        # the very bytes that were read above: the file could change between two reads
        file = Path(scratch) / SIGNATURE
        file.write_bytes(signature)
        if allowed_signers.is_file():
            trust = ["-Y", "verify", "-f", str(allowed_signers), "-I", IDENTITY, "-n", NAMESPACE, "-s", str(file)]
            if ssh_keygen(trust, data).returncode == 0:
                return
        sound = ssh_keygen(["-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(file)], data)
    if sound.returncode != 0:
        raise BundleError(
            "the signature is not of this manifest: the manifest or its signature was changed",
            where=str(folder / MANIFEST),
            given=f"manifest with sha256 {hashlib.sha256(data).hexdigest()}",
            remedy="fetch the bundle again, or build it again",
        )
    raise BundleError(
        "the bundle is signed by a key that is not trusted here",
        where=str(folder),
        given=sound.stdout.decode("utf-8", "replace").strip().rpartition(" with ")[2],
        allowed=f"the keys in {allowed_signers}",
        remedy="if you trust its maker, fetch the maker's public key: edgekit bundle trust KEY.pub",
    )


def _armor(signature: bytes) -> bytes | None:
    """The one way ssh-keygen writes this signature (lines of 70); its reader would pass over some flipped bits."""
    try:
        lines = signature.decode("ascii").splitlines()
        body = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (UnicodeDecodeError, binascii.Error):
        return None
    text = textwrap.wrap(base64.b64encode(body).decode(), 70)
    return "\n".join([_BEGIN, *text, _END, ""]).encode()


def _verify_blob(folder: Path, entry: Entry) -> None:
    """Size and hash of one blob, read once through one descriptor; a link in its place is refused."""
    file = folder / BLOBS / entry.blob.sha256
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        what = "is missing from" if isinstance(error, FileNotFoundError) else "cannot be read in"
        raise BundleError(
            f"the {entry.what} {what} the bundle",
            where=str(file),
            allowed=f"{entry.blob.size} bytes, sha256 {entry.blob.sha256}",
            remedy="fetch the bundle again, or build it again",
        ) from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        size = status.st_size
        if size == entry.blob.size and stat.S_ISREG(status.st_mode):
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found == entry.blob.sha256:
                return
            given, allowed = f"sha256 {found}", f"sha256 {entry.blob.sha256}"
        else:
            given, allowed = f"{size} bytes", f"{entry.blob.size} bytes"
    raise BundleError(
        f"the {entry.what} is damaged",
        where=str(file),
        given=given,
        allowed=allowed,
        remedy="fetch the bundle again, or build it again",
    )
