"""Wheels: which fit a board, read from their names and from the code inside."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from deliver_kit import RPI4
from hypothesis import given
from hypothesis import strategies as st

from edgekit.deliver import elf, wheels
from edgekit.errors import PreflightError, SpecError, TransportError, UsageError
from edgekit.spec.target import Os, RuntimeSupport

ARMV7 = replace(RPI4, name="armv7", cpu=replace(RPI4.cpu, arch="armhf", features=()))


def elf_of(versions: tuple[str, ...], machine: int = 183, wide: bool = True) -> bytes:
    """The least shared object that asks libc.so.6 for these symbol versions: one segment, one dynamic table."""
    header, entry, dyn = (64, 56, 16) if wide else (52, 32, 8)
    names = [b"libc.so.6", *(one.encode() for one in versions)]
    strings = b"\0" + b"\0".join(names) + b"\0"
    at = [strings.index(b"\0" + one + b"\0") + 1 for one in names]
    dynamic_at = header + 2 * entry
    need_at = dynamic_at + 4 * dyn
    strings_at = need_at + 16 + 16 * len(versions)
    base = 0x10000
    form = "<QQ" if wide else "<II"
    tags = [(5, base + strings_at), (0x6FFFFFFE, base + need_at), (0x6FFFFFFF, 1 if versions else 0), (0, 0)]
    dynamic = b"".join(struct.pack(form, *tag) for tag in tags)
    need = struct.pack("<HHIII", 1, len(versions), at[0], 16, 0)
    for number, name in enumerate(at[1:]):
        need += struct.pack("<IHHII", 0, 0, 2, name, 16 if number + 2 < len(at) else 0)
    total = strings_at + len(strings)
    segments = b""
    for kind, offset, size in ((1, 0, total), (2, dynamic_at, len(dynamic))):
        if wide:
            segments += struct.pack("<IIQQQQQQ", kind, 4, offset, base + offset, 0, size, size, 8)
        else:
            segments += struct.pack("<IIIIIIII", kind, offset, base + offset, 0, size, size, 4, 4)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    if wide:
        rest = struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, header, 0, 0, header, entry, 2, 0, 0, 0)
    else:
        rest = struct.pack("<HHIIIIIHHHHHH", 3, machine, 1, 0, header, 0, 0, header, entry, 2, 0, 0, 0)
    return ident + rest + segments + dynamic + need + strings


def wheel_of(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    file = folder / name
    with zipfile.ZipFile(file, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return file


@pytest.mark.parametrize("wide", [True, False])
def test_symbol_versions_are_read(wide: bool) -> None:
    found = elf.needs(elf_of(("GLIBC_2.17", "GLIBC_2.28"), 183 if wide else 40, wide))
    assert found == elf.Needs("arm64" if wide else "armhf", ("GLIBC_2.17", "GLIBC_2.28"))


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")
def test_they_are_what_readelf_reads() -> None:
    import _ssl

    for file in (_ssl.__file__, shutil.which("ssh")):
        text = subprocess.run(["readelf", "-V", str(file)], capture_output=True, text=True, check=True).stdout
        expected = set(re.findall(r"Name: (\S+)  Flags", text.split(".gnu.version_r")[1]))
        assert expected
        assert set(elf.needs(Path(str(file)).read_bytes()).versions) == expected


@given(st.integers(0, 400), st.binary(max_size=40))
def test_a_damaged_file_is_an_error_and_never_a_crash(cut: int, patch: bytes) -> None:
    whole = bytearray(elf_of(("GLIBC_2.17", "GLIBC_2.28")))
    whole[cut : cut + len(patch)] = patch
    for data in (bytes(whole), bytes(whole[:cut])):
        try:
            elf.needs(data)
        except ValueError:
            continue


NUMPY = "numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl"


@pytest.mark.parametrize(
    "name",
    [
        NUMPY,
        "tokenizers-0.23.3-cp310-abi3-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
        "backports_strenum-1.2.8-py3-none-any.whl",
        "six-1.0-py2.py3-none-any.whl",
        "tool-1.0-py3-none-manylinux_2_36_aarch64.whl",
    ],
)
def test_a_fitting_wheel_passes(tmp_path: Path, name: str) -> None:
    wheels.check(wheel_of(tmp_path, name, {"a/b.so": elf_of(("GLIBC_2.36", "GLIBC_PRIVATE")), "a/c.py": b""}), RPI4)


@pytest.mark.parametrize(
    "name",
    [
        "numpy-2.4.6-cp312-cp312-manylinux_2_27_aarch64.whl",
        "numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl",
        "numpy-2.4.6-cp311-cp311-manylinux_2_39_aarch64.whl",
        "numpy-2.4.6-cp311-cp311-musllinux_1_2_aarch64.whl",
        "numpy-2.4.6-cp311-cp311t-manylinux_2_27_aarch64.whl",
        "tokenizers-0.23.3-cp312-abi3-manylinux_2_17_aarch64.whl",
        "numpy.whl",
    ],
)
def test_a_wheel_for_another_board_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PreflightError) as caught:
        wheels.check(wheel_of(tmp_path, name, {}), RPI4)
    assert caught.value.given == name


def test_a_mislabelled_c_library_is_found(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, NUMPY, {"ok.so": elf_of(("GLIBC_2.17",)), "numpy/_core.so": elf_of(("GLIBC_2.38",))})
    with pytest.raises(PreflightError) as caught:
        wheels.check(wheel, RPI4)
    assert caught.value.where == f"{NUMPY}: numpy/_core.so"
    assert caught.value.given == "GLIBC_2.38"
    assert "GLIBC_2.36" in str(caught.value.allowed)


def test_a_mislabelled_architecture_is_found(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="another architecture") as caught:
        wheels.check(wheel_of(tmp_path, NUMPY, {"a.so": elf_of((), machine=62)}), RPI4)
    assert (caught.value.given, caught.value.allowed) == ("amd64", "arm64")


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / NUMPY).write_bytes(b"PK no more")
    with pytest.raises(PreflightError, match="damaged"):
        wheels.check(tmp_path / NUMPY, RPI4)
    with pytest.raises(PreflightError, match="damaged"):
        wheels.check(wheel_of(tmp_path, NUMPY, {"a.so": b"\x7fELF, they said"}), RPI4)


@pytest.mark.parametrize(
    ("versions", "newest"),
    [(("GLIBC_2.4", "GLIBC_2.17"), "2.17"), (("GLIBC_2.2.5",), "2.2.5"), (("GLIBC_PRIVATE", "GLIBCXX_3.4.30"), None)],
)
def test_versions_compare_as_numbers(versions: tuple[str, ...], newest: str | None) -> None:
    assert wheels.newest_glibc(versions) == newest


def test_every_manylinux_up_to_the_boards_is_listed() -> None:
    tags = wheels.platforms(RPI4)
    assert tags[0] == "manylinux_2_36_aarch64"
    assert {"manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_28_aarch64"} <= set(tags)
    assert "manylinux_2_37_aarch64" not in tags
    assert "manylinux_2_36_armv7l" in wheels.platforms(ARMV7)


def test_a_refused_or_unknown_runtime_says_why() -> None:
    with pytest.raises(PreflightError, match="cannot read the INT8 operators"):
        wheels.runtime_packages(RPI4, "tflite")
    with pytest.raises(PreflightError) as caught:
        wheels.runtime_packages(RPI4, "litret")
    assert "litert" in str(caught.value.remedy)


@pytest.mark.parametrize("package", ["numpy", "numpy>=2", "numpy==2.4.6 --index-url=x", "-r file", "http://x/a.whl"])
def test_a_package_must_be_pinned(package: str) -> None:
    loose = replace(RPI4, runtimes={"litert": RuntimeSupport((package,))})
    with pytest.raises(SpecError, match="pin"):
        wheels.runtime_packages(loose, "litert")


def index_of(folder: Path, *wheel_files: Path) -> None:
    """A package index that is a folder, for pip."""
    folder.mkdir()
    for file in wheel_files:
        shutil.copy(file, folder)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A target whose runtime is one handmade wheel in a local index, and that index' folder."""
    name = "tiny_runtime-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    info = "tiny_runtime-1.0.dist-info"
    meta = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-runtime\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-manylinux_2_28_aarch64\n",
        f"{info}/RECORD": b"",
    }
    index = tmp_path / "index"
    index_of(index, wheel_of(tmp_path, name, {**meta, "tiny/_c.so": elf_of(("GLIBC_2.28",))}))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return replace(RPI4, runtimes={"litert": RuntimeSupport(("tiny-runtime==1.0",))}), index


def test_a_runtime_is_fetched_checked_and_cached(tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    target, index = tiny
    (found,) = wheels.resolve(target, "litert", tmp_path / "cache")
    assert found.read_bytes() == next(index.iterdir()).read_bytes()
    shutil.rmtree(index)
    assert wheels.resolve(target, "litert", tmp_path / "cache") == (found,)
    blobs = wheels.blobs([found])
    assert list(blobs.values()) == [found]
    assert re.fullmatch("[0-9a-f]{64}", wheels.digest(blobs))
    assert wheels.digest([]) == ""
    assert wheels.unpacked_size([found]) > len(elf_of(("GLIBC_2.28",)))


def test_of_a_package_only_the_named_members_are_shipped(tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    target, index = tiny
    with zipfile.ZipFile(next(index.iterdir()), "a") as archive:
        archive.writestr("tiny/exporter.py", b"import everything\n" * 999)
        archive.writestr("tiny_runtime-1.0.dist-info/LICENSE", b"do what you want")

    def thin(patterns: tuple[str, ...], cache: str, package: str = "tiny_runtime") -> Path:
        support = RuntimeSupport(("tiny-runtime==1.0",), members={package: patterns})
        (found,) = wheels.resolve(replace(target, runtimes={"litert": support}), "litert", tmp_path / cache)
        return found

    found = thin(("tiny/*.so",), "a")
    assert sorted(zipfile.ZipFile(found).namelist()) == [
        "tiny/_c.so",
        *(f"tiny_runtime-1.0.dist-info/{one}" for one in ("LICENSE", "METADATA", "WHEEL")),
    ], "what is shipped, and what says whose it is; not the list of members, which would be wrong"
    assert zipfile.ZipFile(found).read("tiny/_c.so") == elf_of(("GLIBC_2.28",))
    assert found.read_bytes() == thin(("tiny/*.so",), "b").read_bytes()
    (whole,) = wheels.resolve(target, "litert", tmp_path / "a")
    assert whole.parent != found.parent, "another runtime"
    with pytest.raises(SpecError, match="no member of the wheel matches"):
        thin(("tiny/*.dll",), "a")
    with pytest.raises(SpecError, match="no wheel of other"):
        thin(("tiny/*.so",), "a", "other")


def test_a_runtime_that_does_not_fit_leaves_nothing(tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    target, index = tiny
    name = next(index.iterdir()).name
    with zipfile.ZipFile(index / name, "a") as archive:
        archive.writestr("tiny/_d.so", elf_of(("GLIBC_2.38",)))
    with pytest.raises(PreflightError, match="newer C library"):
        wheels.resolve(target, "litert", tmp_path / "cache")
    assert list((tmp_path / "cache" / "wheels").iterdir()) == []


def test_a_wheel_that_is_not_there_is_a_spec_error(tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    target, _ = tiny
    newer = replace(target, runtimes={"litert": RuntimeSupport(("tiny-runtime==2.0",))})
    with pytest.raises(SpecError, match="cannot be had") as caught:
        wheels.resolve(newer, "litert", tmp_path / "cache")
    assert "tiny-runtime==2.0" in str(caught.value.given)
    older = replace(target, os=Os("Debian 10", "3.11", "2.27"))
    with pytest.raises(SpecError, match="cannot be had"):
        wheels.resolve(older, "litert", tmp_path / "cache")


def test_an_index_out_of_reach_is_a_transport_error(tiny, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    target, _ = tiny
    # nobody listens on the discard port
    for name, value in {"RETRIES": "1", "INDEX_URL": "http://127.0.0.1:9/simple", "FIND_LINKS": ""}.items():
        monkeypatch.setenv("PIP_" + name, value)
    for name in ("PIP_NO_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TransportError, match="cannot be reached"):
        wheels.resolve(target, "litert", tmp_path / "cache")


def test_without_pip_there_is_a_remedy(tiny, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    target, _ = tiny
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        wheels.resolve(target, "litert", tmp_path / "cache")
    assert f"{sys.executable} -m ensurepip" in str(caught.value.remedy)


@pytest.mark.slow
def test_the_real_runtime_of_a_raspberry_pi_4_resolves(tmp_path: Path) -> None:
    from edgekit import load

    found = wheels.resolve(load.target("rpi4"), "litert", tmp_path)
    assert any(one.name.startswith("ai_edge_litert-2.3.0-cp311-cp311-manylinux") for one in found)
