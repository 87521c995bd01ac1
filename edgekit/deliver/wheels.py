"""The runtime's wheels for a board, resolved and checked on the host: the board needs no pip and no internet.

A wheel's file name promises an architecture and a C library; mislabelled ones exist, so the shared objects inside are
read as well.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from edgekit.deliver import debian, elf
from edgekit.errors import PreflightError, SpecError, TransportError, UsageError, nearest
from edgekit.spec import codec
from edgekit.spec.manifest import Blob
from edgekit.spec.progress import Report, quiet
from edgekit.spec.target import Target

#: Debian's name of an architecture → the wheel tags'.
MACHINES = {"arm64": "aarch64", "armhf": "armv7l"}
#: What a file name cannot say stands in this list; sorted names, so that it is the same everywhere.
_LIST = "wheels.json"
_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.!+_-]+")
_OFFLINE = (
    "Connection refused",
    "ConnectTimeout",
    "Failed to establish",
    "Max retries exceeded",
    "Network is unreachable",
    "NewConnectionError",
    "ProxyError",
    "ReadTimeout",
    "SSLError",
    "Temporary failure in name",
)


def runtime_packages(target: Target, runtime: str) -> tuple[str, ...]:
    """The pinned requirements of a runtime on a target. Raises PreflightError with the target's reason against it."""
    support = target.runtimes.get(runtime)
    if support is None:
        raise PreflightError(
            f"target {target.name} has no runtime {runtime}", given=runtime, remedy=nearest(runtime, target.runtimes)
        )
    if support.refused:
        raise PreflightError(f"target {target.name} cannot run {runtime}: {support.refused}", given=runtime)
    for field, pins, pin, form in (
        ("packages", support.packages, _PIN, "name==version"),
        ("debian", support.debian, debian.PIN, "name=version"),
    ):
        for one in pins:
            if not pin.fullmatch(one):
                where = f"target {target.name} $.runtimes.{runtime}.{field}"
                raise SpecError("pin the package's version", where=where, given=one, allowed=form)
    return support.packages


def platforms(target: Target) -> tuple[str, ...]:
    """Platform tags that load on the target, newest C library first: pip compares each ``manylinux_2_N`` exactly."""
    machine = MACHINES[target.cpu.arch]
    newest = _version(target.os.glibc)[1]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 16, -1)]
    return (*tags, f"manylinux2014_{machine}", f"linux_{machine}")


def resolve(
    target: Target,
    runtime: str,
    cache: Path,
    report: Report = quiet,
    archives: Callable[[str], Sequence[str]] = lambda suite: (),
) -> tuple[Path, ...]:
    """The wheels of a runtime for a target, from ``cache/wheels/<key>`` or downloaded by pip and checked; what has none
    by apt, whose ``archives`` for a release of Debian may be given.

    Raises PreflightError where a wheel does not fit the board, SpecError where there is none, TransportError without
    network, UsageError without pip or apt.
    """
    packages, support = runtime_packages(target, runtime), target.runtimes[runtime]
    others = support.debian
    inputs: list[object] = [sorted(packages), target.cpu.arch, target.os.python, target.os.glibc]
    inputs += [sorted(others), target.os.suite] if others else []
    inputs += [sorted(support.members.items())] if support.members else []
    key = codec.digest(inputs)[:24]
    final = cache / "wheels" / key
    if (final / _LIST).is_file():
        return tuple(final / name for name in codec.loads(list[str], (final / _LIST).read_bytes()))
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".wheels-", dir=final.parent))
    try:
        report(f"fetching {', '.join(packages)} for {target.cpu.arch}, Python {target.os.python}", None)
        _download(packages, target, temporary)
        if others:
            report(f"fetching {', '.join(others)} from Debian {target.os.suite} for {target.cpu.arch}", None)
            debian.fetch(others, target, archives(target.os.suite), temporary)
        for name, patterns in support.members.items():
            _thin(temporary, name, patterns)
        found = sorted(temporary.glob("*.whl"))
        for number, wheel in enumerate(found):
            report(f"checking {wheel.name}", number / len(found))
            check(wheel, target)
        (temporary / _LIST).write_text(codec.dumps([one.name for one in found]))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return tuple(final / one.name for one in found)


def blobs(wheels: Iterable[Path]) -> dict[Blob, Path]:
    """Each wheel as a blob, in the order of their hashes."""
    found = {}
    for file in wheels:
        with file.open("rb") as source:
            found[Blob(hashlib.file_digest(source, "sha256").hexdigest(), file.stat().st_size)] = file
    return dict(sorted(found.items(), key=lambda pair: pair[0].sha256))


def digest(wheels: Iterable[Blob]) -> str:
    """The name of the runtime folder that these wheels make together; ``""`` for none."""
    names = sorted(one.sha256 for one in wheels)
    return codec.digest(names) if names else ""


def unpacked_size(wheels: Iterable[Path]) -> int:
    """Bytes all members take on the disk."""
    total = 0
    for file in wheels:
        with zipfile.ZipFile(file) as archive:
            total += sum(one.file_size for one in archive.infolist())
    return total


def check(wheel: Path, target: Target) -> None:
    """Raise PreflightError unless the wheel's tags and every shared object in it fit the target."""
    try:
        _, _, _, tags = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise PreflightError(f"not a wheel: {error}", given=wheel.name) from error
    allowed = {*platforms(target), "any"}
    interpreter = "cp" + target.os.python.replace(".", "")
    if not any(one.platform in allowed and _fits_python(one.interpreter, one.abi, interpreter) for one in tags):
        raise PreflightError(
            f"the wheel is not for target {target.name}",
            given=wheel.name,
            allowed=f"{interpreter}, abi3 or py3 for {target.cpu.arch} and glibc up to {target.os.glibc}",
        )
    for member, needs in _objects(wheel):
        if needs.arch != target.cpu.arch:
            raise PreflightError(
                "the wheel is mislabelled: it holds code for another architecture",
                where=f"{wheel.name}: {member}",
                given=needs.arch,
                allowed=target.cpu.arch,
            )
        worst = newest_glibc(needs.versions)
        if worst is not None and _version(worst) > _version(target.os.glibc):
            raise PreflightError(
                "the wheel needs a newer C library than the board has",
                where=f"{wheel.name}: {member}",
                given=f"GLIBC_{worst}",
                allowed=f"up to GLIBC_{target.os.glibc} (target {target.name})",
                remedy="pin an older version of the package in the target file, or update the board's system",
            )


def _thin(folder: Path, package: str, patterns: Sequence[str]) -> None:
    """Write a package's wheel anew with the members that match, its metadata and licences. Its list of members goes: it
    would no longer be true. Raises SpecError where there is no such wheel, or nothing matches."""
    name = canonicalize_name(package)
    for wheel in folder.glob("*.whl"):
        if parse_wheel_filename(wheel.name)[0] == name:
            break
    else:
        raise SpecError(f"no wheel of {package} is among the runtime's", where="$.runtimes.members", given=package)
    thin = wheel.with_suffix(".thin")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(thin, "w") as kept:
        members = sorted(whole.infolist(), key=lambda one: one.filename)
        wanted = [one for one in members if any(fnmatch.fnmatchcase(one.filename, each) for each in patterns)]
        if not wanted:
            raise SpecError("no member of the wheel matches", where=wheel.name, given=list(patterns))
        about = [one for one in members if ".dist-info/" in one.filename and not one.filename.endswith("/RECORD")]
        for one in (*about, *wanted):
            kept.writestr(one, whole.read(one), zipfile.ZIP_DEFLATED)
    os.replace(thin, wheel)


def newest_glibc(versions: Sequence[str]) -> str | None:
    """The newest ``GLIBC_<version>`` among symbol versions, without the prefix; ``GLIBC_PRIVATE`` is no version."""
    found = [one.removeprefix("GLIBC_") for one in versions if re.fullmatch(r"GLIBC_\d+(\.\d+)+", one)]
    return max(found, key=_version, default=None)


def _objects(wheel: Path) -> Iterator[tuple[str, elf.Needs]]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                with archive.open(member) as source:
                    if not elf.is_elf(source.read(4)):
                        continue
                yield member.filename, elf.needs(archive.read(member))
    except (zipfile.BadZipFile, ValueError) as error:
        raise PreflightError(f"the wheel is damaged: {error}", where=wheel.name) from error


def _fits_python(interpreter: str, abi: str, wanted: str) -> bool:
    """Whether a wheel's Python tags load in CPython ``wanted`` (``cp311``); abi3 wheels load in all newer ones too."""
    if interpreter in ("py3", "py2.py3", "py" + wanted[2:]):
        return abi == "none"
    if abi == "abi3":
        return interpreter.startswith("cp3") and int(interpreter[3:]) <= int(wanted[3:])
    return interpreter == wanted and abi in (wanted, "none")


def _download(packages: Sequence[str], target: Target, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            "this Python has no pip to fetch the board's wheels with", remedy=f"{sys.executable} -m ensurepip"
        )
    abi = "cp" + target.os.python.replace(".", "")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.os.python]
    for one in (abi, "abi3", "none"):
        command += ["--abi", one]
    for one in platforms(target):
        command += ["--platform", one]
    done = subprocess.run([*command, "-d", str(folder), *packages], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = done.stderr.strip()
    last = said.splitlines()[-1] if said else f"pip ended with status {done.returncode}"
    if any(sign in said for sign in _OFFLINE):
        raise TransportError(
            "the package index cannot be reached",
            given=last,
            remedy="connect this host to the internet, or set pip's index (PIP_INDEX_URL); the board needs none",
        )
    raise SpecError(
        f"a wheel of target {target.name} cannot be had",
        where=f"target {target.name} $.runtimes",
        given=last,
        allowed=f"wheels for Python {target.os.python}, {MACHINES[target.cpu.arch]}, glibc up to {target.os.glibc}",
        remedy="pin a version that has one",
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split("."))
