"""Debian packages as wheels: what the board needs of them, and nothing else."""

from __future__ import annotations

import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from edgekit import load
from edgekit.deliver import debian, elf, wheels
from edgekit.errors import BuildError, SpecError, TransportError, UsageError
from edgekit.spec.target import RuntimeSupport

ARMV7 = load.target("generic-armv7")
PACKAGES = ARMV7.runtimes["tflite"].debian


def package(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A .deb: an ar archive whose data is a tar of these files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo("./" + name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, to in (links or {}).items():
            entry = tarfile.TarInfo("./" + name)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            archive.addfile(entry)
    members = (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", data.getvalue()))
    parts = [
        f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
        for name, body in members
    ]
    return b"!<arch>\n" + b"".join(parts)


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_modules_and_licence_become_a_wheel_that_fits_the_board(tmp_path: Path) -> None:
    content = package(
        {
            "usr/lib/python3/dist-packages/numpy/__init__.py": b"version = 1\n",
            "usr/share/doc/python3-numpy/copyright": b"BSD\n",
            "usr/share/man/man1/f2py.1.gz": b"",
            "usr/bin/f2py": b"#!/bin/sh",
        },
        {"usr/include/python3.11/numpy": "../elsewhere"},
    )
    found = debian.wheel(content, "python3-numpy", "1:1.24.2-1+deb12u1", ARMV7, tmp_path)
    wheels.check(found, ARMV7)
    name, version, _, tags = parse_wheel_filename(found.name)
    assert (name, str(version), {str(one) for one in tags}) == (
        "python3-numpy",
        "1.24.2+1.deb12u1",
        {"cp311-cp311-linux_armv7l"},
    )
    info = "python3_numpy-1.24.2+1.deb12u1.dist-info"
    assert names(found) == {"numpy/__init__.py", f"{info}/licenses/copyright", f"{info}/METADATA", f"{info}/WHEEL"}
    (tmp_path / "again").mkdir()
    again = debian.wheel(content, "python3-numpy", "1:1.24.2-1+deb12u1", ARMV7, tmp_path / "again")
    assert again.read_bytes() == found.read_bytes()


def test_a_shared_library_goes_by_the_name_others_ask_for(tmp_path: Path) -> None:
    real = next(Path("/usr/lib").glob("*-linux-gnu/libz.so.1.*"), None)
    if real is None:
        pytest.skip("no libz here to take apart")
    data = real.read_bytes()
    assert elf.needs(data).name == "libz.so.1"
    files = {"usr/lib/arm-linux-gnueabihf/blas/libother.so.1.2.13": data}
    found = debian.wheel(package(files, {"usr/lib/x/libz.so.1": "y"}), "libother1", "3.11.0-2", ARMV7, tmp_path)
    assert "edgekit.libs/libz.so.1" in names(found)
    assert found.name == "libother1-3.11.0+2-py3-none-linux_armv7l.whl"


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"not a package", package({})[:200]])
def test_a_damaged_package_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="not a Debian package"):
        debian.wheel(content, "libz1", "1", ARMV7, tmp_path)
    assert not list(tmp_path.glob("*.whl"))


def test_without_apt_there_is_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="takes packages from Debian") as caught:
        debian.fetch(PACKAGES, ARMV7, (), tmp_path)
    assert "Debian or Ubuntu host" in str(caught.value.remedy)


def test_without_an_archive_one_is_asked_for_and_the_named_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/usr/bin/apt-get").exists():
        pytest.skip("no apt here")
    monkeypatch.delenv(debian.MIRROR, raising=False)
    with pytest.raises(UsageError, match="names no archive of Debian") as caught:
        debian.fetch(PACKAGES, ARMV7, (), tmp_path)
    assert debian.MIRROR in str(caught.value.remedy)
    monkeypatch.setenv(debian.MIRROR, "http://127.0.0.1:9/debian")
    with pytest.raises(TransportError, match="cannot be reached"):
        debian.fetch(PACKAGES, ARMV7, (), tmp_path)


def test_an_archive_out_of_reach_is_a_transport_error_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    if not Path("/usr/bin/apt-get").exists():
        pytest.skip("no apt here")
    # nobody listens on the discard port
    nowhere = ["deb [trusted=yes] http://127.0.0.1:9/debian bookworm main"]
    with pytest.raises(TransportError, match="cannot be reached"):
        debian.fetch(PACKAGES, ARMV7, nowhere, folder)
    assert list(folder.iterdir()) == []


def test_a_version_that_is_not_pinned_is_told_with_its_place() -> None:
    loose = replace(ARMV7, runtimes={"tflite": RuntimeSupport(("a==1",), debian=("python3-numpy",))})
    with pytest.raises(SpecError, match="pin the package's version") as caught:
        wheels.runtime_packages(loose, "tflite")
    assert caught.value.where == "target generic-armv7 $.runtimes.tflite.debian"
    assert caught.value.allowed == "name=version"


@pytest.mark.slow
def test_debians_own_numpy_for_armv7_resolves(tmp_path: Path) -> None:
    from edgekit.emulate import apt

    found = wheels.resolve(ARMV7, "tflite", tmp_path, archives=apt.mirrors)
    assert {one.name.split("-")[0] for one in found} == {
        "libblas3",
        "libgfortran5",
        "liblapack3",
        "python3_numpy",
        "tflite_runtime",
        "tokenizers",
    }
    libraries = {name for one in found for name in names(one) if name.startswith("edgekit.libs/")}
    assert libraries == {f"edgekit.libs/{one}" for one in ("libblas.so.3", "libgfortran.so.5", "liblapack.so.3")}
