"""The two key pairs of an emulated device: its own, which hosts pin, and the one that may log in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from edgekit.errors import BuildError

HOST_KEY = "ssh_host_ed25519_key"
CLIENT_KEY = "client_ed25519_key"


def ensure(file: Path) -> str:
    """The public half (``type base64``) of the private key ``file``, mode 0600, made where it is not there yet."""
    if not file.exists():
        # ssh-keygen writes the public half last: take both in whole
        part = file.with_name(file.name + ".part")
        for stale in (part, _public(part)):
            stale.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "edgekit", "-f", str(part)]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode:
            raise BuildError("ssh-keygen made no key", given=result.stderr.strip(), where=str(file))
        os.replace(_public(part), _public(file))
        os.replace(part, file)
    return " ".join(_public(file).read_text().split()[:2])


def _public(file: Path) -> Path:
    return file.with_name(file.name + ".pub")
