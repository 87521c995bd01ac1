"""Debian's packages as wheels, for boards whose Python packages nobody else builds (numpy for 32-bit ARM).

The host's apt fetches them for the board's architecture and release, and checks Debian's signatures; nothing of the
host's own system is touched. What the board's Python imports becomes a wheel's content, with the licence beside it;
shared libraries go by the names that others ask for into one folder of the runtime, so that the board needs no root.
"""

from __future__ import annotations

import io
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgekit.deliver import elf
from edgekit.errors import BuildError, SpecError, TransportError, UsageError
from edgekit.spec import wire
from edgekit.spec.target import Target

#: ``name=version``, as apt takes it.
PIN = re.compile(r"[a-z0-9][a-z0-9+.-]+=[0-9][A-Za-z0-9.+~:-]*")
#: Names an archive of Debian on a host whose own apt has none.
MIRROR = "EDGEKIT_DEBIAN_MIRROR"
_MODULES = "usr/lib/python3/dist-packages/"
_LIBRARIES = re.compile(r"usr/lib/[a-z0-9_-]+-linux-[a-z]+/(?:[^/]+/)*lib[^/]+\.so\.[^/]+")
_TAGS = {"arm64": "aarch64", "armhf": "armv7l"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def fetch(packages: Sequence[str], target: Target, archives: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Fetch ``name=version`` packages and write each as a wheel into ``folder``. Equal packages give equal bytes.

    Args:
        archives: lines of sources.list(5) for the target's release; where empty, of ``EDGEKIT_DEBIAN_MIRROR``.

    Raises UsageError without apt or an archive, TransportError where the archive cannot be reached, SpecError where it
    has no such version.
    """
    if shutil.which("apt-get") is None:
        raise UsageError(
            f"a runtime of target {target.name} takes packages from Debian, and there is no apt-get here to fetch them",
            given=", ".join(packages),
            remedy="do this once on a Debian or Ubuntu host",
        )
    with tempfile.TemporaryDirectory(prefix=".apt-", dir=folder) as place:
        apt = _apt(Path(place), target, archives)
        _run([*apt, "-o", "APT::Update::Error-Mode=any", "update"], Path(place), target)
        _run([*apt, "download", *packages], Path(place), target)
        found = sorted(Path(place).glob("*.deb"))
        return tuple(wheel(one.read_bytes(), one.stem.split("_")[0], _version(one), target, folder) for one in found)


def wheel(package: bytes, name: str, version: str, target: Target, folder: Path) -> Path:
    """Write a package's modules, shared libraries and licence as a wheel. Raises BuildError where it is no package."""
    members = dict(_members(package, name))
    python = "cp" + target.os.python.replace(".", "")
    pure = all(one.startswith(wire.LIBRARIES) for one in members if one != "licence")
    tag = f"{'py3-none' if pure else f'{python}-{python}'}-linux_{_TAGS[target.cpu.arch]}"
    stem = f"{re.sub('[^A-Za-z0-9]+', '_', name)}-{_public(version)}"
    info = f"{stem}.dist-info"
    if "licence" in members:
        members[f"{info}/licenses/copyright"] = members.pop("licence")
    said = f"Metadata-Version: 2.1\nName: {name}\nVersion: {_public(version)}\nSummary: Debian package {version}\n"
    members[f"{info}/METADATA"] = said.encode()
    members[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: edgekit\nTag: {tag}\n".encode()
    file = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for one in sorted(members):
            archive.writestr(zipfile.ZipInfo(one, _EPOCH), members[one], zipfile.ZIP_DEFLATED)
    return file


def _mirror(suite: str) -> str:
    mirror = os.environ.get(MIRROR)
    if not mirror:
        raise UsageError(
            "this host's apt names no archive of Debian",
            given=suite,
            remedy=f"name one: export {MIRROR}=http://…/debian",
        )
    return f"deb {mirror} {suite} main"


def _apt(place: Path, target: Target, archives: Sequence[str]) -> list[str]:
    """apt with a state of its own: it knows the board's architecture and release, and nothing that is installed."""
    for one in ("state/lists/partial", "cache/archives/partial"):
        (place / one).mkdir(parents=True)
    (place / "status").touch()
    lines = archives or [_mirror(target.os.suite)]
    (place / "sources.list").write_text("".join(f"{one}\n" for one in lines))
    options = {
        "Dir::State": place / "state",
        "Dir::State::status": place / "status",
        "Dir::Cache": place / "cache",
        "Dir::Etc::SourceList": place / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "APT::Architecture": target.cpu.arch,
        "APT::Architectures": target.cpu.arch,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return ["apt-get", "-q", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]


def _run(command: Sequence[str], place: Path, target: Target) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = [one for one in done.stderr.splitlines() if one.startswith("E:")] or [f"apt ended with {done.returncode}"]
    if command[-1] == "update":
        raise TransportError(
            f"Debian's archive for {target.os.suite} cannot be reached",
            given=said[0],
            remedy="connect this host to the internet; the board needs none",
        )
    raise SpecError(
        f"a Debian package of target {target.name} cannot be had",
        where=f"target {target.name} $.runtimes",
        given="; ".join(said),
        allowed=f"packages of Debian {target.os.suite} for {target.cpu.arch}",
        remedy="pin the version that the archive has now: see packages.debian.org",
    )


def _version(file: Path) -> str:
    """Debian's version from a file's name, where a colon is written as ``%3a``."""
    return file.stem.split("_")[1].replace("%3a", ":")


def _public(version: str) -> str:
    """``1:1.24.2-1+deb12u1`` as Python writes versions: ``1.24.2+1.deb12u1``."""
    upstream = version.partition(":")[2] or version
    release = re.match(r"\d+(\.\d+)*", upstream)
    number = release[0] if release else "0"
    rest = re.sub("[^A-Za-z0-9]+", ".", upstream[len(number) :]).strip(".").lower()
    return f"{number}+{rest}" if rest else number


def _members(package: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """What the board needs of a package, by its place in the wheel; ``licence`` is its copyright file."""
    try:
        content = lzma.decompress(_data(package))
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for one in archive:
                path = one.name.removeprefix("./")
                source = archive.extractfile(one) if one.isreg() else None
                if source is None:
                    continue
                if path.startswith(_MODULES):
                    yield path.removeprefix(_MODULES), source.read()
                elif _LIBRARIES.fullmatch(path):
                    data = source.read()
                    yield f"{wire.LIBRARIES}/{elf.needs(data).name or Path(path).name}", data
                elif path == f"usr/share/doc/{name}/copyright":
                    yield "licence", source.read()
    except (ValueError, lzma.LZMAError, tarfile.TarError) as error:
        raise BuildError(f"not a Debian package: {error}", where=name) from error


def _data(package: bytes) -> bytes:
    """The member ``data.tar.xz`` of the archive that a .deb file is (ar(5): headers of 60 bytes, even offsets)."""
    at = 8
    while package[:8] == b"!<arch>\n" and at + 60 <= len(package):
        header = package[at : at + 60]
        size = int(header[48:58])
        if header[:16].rstrip().rstrip(b"/") == b"data.tar.xz":
            return package[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise ValueError("it has no data.tar.xz")
