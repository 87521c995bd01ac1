"""Signatures by ``ssh-keygen -Y`` (SSHSIG, OpenSSH's PROTOCOL.sshsig): no cryptography of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgekit.bundle.folder import MANIFEST, SIGNATURE, manifest_bytes
from edgekit.errors import BundleError, UsageError

#: Who signs, and what for: a signature made for another purpose is none here.
IDENTITY = "edgekit"
NAMESPACE = "edgekit"


def ssh_keygen(arguments: list[str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run ssh-keygen on ``data``, without a terminal to ask for a passphrase. UsageError where it is not installed."""
    program = shutil.which("ssh-keygen")
    if program is None:
        raise UsageError("ssh-keygen is not installed", remedy="sudo apt-get install openssh-client")
    environment = {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    return subprocess.run(
        [program, *arguments], input=data, capture_output=True, check=False, env=environment, start_new_session=True
    )


def ensure_key(path: Path) -> Path:
    """The private key at ``path``, its public half beside it as ``.pub``; an ed25519 pair is made where none is.

    An existing key is never changed; its public half is written anew where it got lost.
    """
    public = path.with_name(path.name + ".pub")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            fresh = Path(folder) / "key"
            _run(["-q", "-t", "ed25519", "-N", "", "-C", "edgekit", "-f", str(fresh)], "no key could be made", path)
            os.replace(fresh.with_name("key.pub"), public)
            os.replace(fresh, path)  # mode 0600 is ssh-keygen's own
    elif not public.exists():
        text = _run(["-y", "-P", "", "-f", str(path)], "the public half of the key cannot be had", path)
        _write(public, text)
    return path


def sign(folder: Path, key: Path) -> Path:
    """Sign the manifest of the bundle at ``folder`` and return the signature's file.

    ``key`` is a private key, or the public half of one that an ssh-agent holds.
    """
    data = manifest_bytes(folder)
    if not key.exists():
        raise UsageError("there is no such signing key", given=str(key), remedy="leave --key out to have one made")
    answer = _run(["-Y", "sign", "-n", NAMESPACE, "-f", str(key)], f"{MANIFEST} could not be signed", key, data)
    _write(folder / SIGNATURE, answer)
    return folder / SIGNATURE


def allow(allowed_signers: Path, public_key: Path) -> str:
    """Trust what this public key signs, for bundles only, and return its fingerprint (``SHA256:…``).

    A key that is trusted already is not added again. Raises UsageError where the file is no OpenSSH public key.
    """
    try:
        words = public_key.read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the public key cannot be read: {error}", given=str(public_key)) from error
    key = " ".join(words[:2])
    # only what is written to the list is asked about: the file could hold more
    told = ssh_keygen(["-l", "-f", "-"], f"{key}\n".encode()) if len(words) > 1 else None
    if told is None or told.returncode != 0:
        raise UsageError(
            "not an OpenSSH public key",
            given=str(public_key),
            allowed="a file with one line 'ssh-ed25519 AAAA… comment'",
            remedy="name the .pub file beside the private key",
        )
    line = f'{IDENTITY} namespaces="{NAMESPACE}" {key}'
    lines = allowed_signers.read_text("utf-8").splitlines() if allowed_signers.exists() else []
    if line not in lines:
        allowed_signers.parent.mkdir(parents=True, exist_ok=True)
        _write(allowed_signers, "".join(f"{one}\n" for one in [*lines, line]).encode())
    return told.stdout.decode().split()[1]


def _run(arguments: list[str], problem: str, key: Path, data: bytes = b"") -> bytes:
    answer = ssh_keygen(arguments, data)
    if answer.returncode != 0:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BundleError(
            f"{problem}: ssh-keygen says: {said[-1] if said else 'nothing'}",
            where=str(key),
            remedy="the key must be readable by you alone (chmod 600) and have no passphrase, or be held by ssh-agent",
        )
    return answer.stdout


def _write(file: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
