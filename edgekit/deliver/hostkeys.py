"""Host keys: a device must show the very key it was registered with.

A key is written as the line ``type base64``, as in known_hosts, and shown as OpenSSH shows it (``SHA256:…``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from pathlib import Path

import paramiko

from edgekit.errors import HostKeyError, SpecError

#: The signature algorithms that prove possession of a key of each type, best first.
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


def known_hosts_files() -> tuple[Path, ...]:
    """Where OpenSSH keeps what it knows."""
    return (Path.home() / ".ssh" / "known_hosts", Path("/etc/ssh/ssh_known_hosts"))


def line(key: paramiko.PKey) -> str:
    """``type base64`` of a key."""
    return f"{key.get_name()} {key.get_base64()}"


def fingerprint(host_key: str) -> str:
    """``SHA256:…`` of a ``type base64`` line, as ``ssh-keygen -l`` prints it. Raises SpecError."""
    parts = host_key.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (IndexError, binascii.Error) as error:
        raise SpecError("not a host key", given=host_key, allowed="type base64, as in known_hosts") from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def known(host: str, port: int, files: Sequence[Path] | None = None) -> tuple[str, ...]:
    """The lines known_hosts holds for a server; hashed names are found too."""
    name = host if port == 22 else f"[{host}]:{port}"
    lines = []
    for file in known_hosts_files() if files is None else files:
        keys = paramiko.HostKeys()
        try:
            keys.load(str(file))
        except OSError:
            continue
        found = keys.lookup(name)
        if found:
            lines += [line(key) for key in found.values()]
    return tuple(lines)


def algorithms(expected: Sequence[str], offered: Sequence[str]) -> tuple[str, ...]:
    """``offered`` host-key algorithms with those first that can prove one of the ``expected`` keys, so that a server
    with several keys shows the one we hold."""
    kinds = [one.split()[0] for one in expected]
    wanted = [name for kind in kinds for name in _ALGORITHMS.get(kind, (kind,)) if name in offered]
    return tuple(dict.fromkeys([*wanted, *offered]))


def check(got: paramiko.PKey, expected: Sequence[str], address: str, *, pinned: bool) -> None:
    """Raise HostKeyError unless ``got`` is one of ``expected``; the words differ for a key pinned by edgekit and one
    from known_hosts."""
    shown = line(got)
    if any(one.split()[:2] == shown.split() for one in expected):
        return
    if not expected:
        raise HostKeyError(
            "nothing is known about this server's key, so it is not trusted",
            where=address,
            given=f"{got.get_name()} {fingerprint(shown)}",
            remedy="compare the fingerprint on the server's own console (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub), "
            "then register it with 'edgekit device add', or log in once with ssh",
        )
    mend = _MEND_PINNED if pinned else _MEND_KNOWN
    raise HostKeyError(
        f"the server shows another key than the one {'pinned for this device' if pinned else 'in known_hosts'}: "
        "it was installed anew, its address belongs to another machine now, or someone is in between",
        where=address,
        given=f"{got.get_name()} {fingerprint(shown)}",
        allowed=[f"{one.split()[0]} {fingerprint(one)}" for one in expected],
        remedy=mend + "; if it was not, do not connect",
    )


_MEND_PINNED = "if it was installed anew: 'edgekit device remove NAME', then 'edgekit device add NAME …'"
_MEND_KNOWN = "if it was installed anew: 'ssh-keygen -R HOST' and log in once with ssh"
