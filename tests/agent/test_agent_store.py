"""Blobs come in verified or not at all; wheels unpack inside their folder or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_releases import killed_at, put

from edgekit.agent import files, store
from edgekit.errors import BundleError, DeviceError
from edgekit.spec import wire
from edgekit.spec.manifest import Blob


def of(data: bytes) -> Blob:
    return Blob(hashlib.sha256(data).hexdigest(), len(data))


def wheel(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()


def test_commit_takes_in_and_missing_tells_what_is_left(root: Path) -> None:
    there, half, absent = of(b"there"), of(b"half and more"), of(b"absent")
    put(root, b"there")
    store.part_path(root, half).write_bytes(b"half")
    answer = store.missing(root, [there, half, absent, absent])
    assert answer == wire.Missing((half, absent), {half.sha256: 4})
    assert store.blob_path(root, there).read_bytes() == b"there"
    assert not list((root / "incoming").glob(there.sha256 + "*"))


@settings(max_examples=40, deadline=None)
@given(data=st.binary(min_size=1, max_size=300), position=st.integers(min_value=0), flip=st.integers(1, 255))
def test_any_flipped_bit_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, position: int, flip: int
) -> None:
    root = tmp_path_factory.mktemp("root")
    store.prepare(root)
    damaged = bytearray(data)
    damaged[position % len(data)] ^= flip
    blob = of(data)
    store.part_path(root, blob).write_bytes(bytes(damaged))
    with pytest.raises(BundleError) as caught:
        store.commit(root, [blob])
    assert blob.sha256 in str(caught.value)
    assert not store.part_path(root, blob).exists()
    assert not store.blob_path(root, blob).exists()


def test_a_short_part_is_refused(root: Path) -> None:
    blob = of(b"whole")
    store.part_path(root, blob).write_bytes(b"who")
    with pytest.raises(BundleError, match="damaged"):
        store.commit(root, [blob])


def test_commit_of_what_never_arrived(root: Path) -> None:
    with pytest.raises(DeviceError, match="lacks"):
        store.commit(root, [of(b"never")])
    put(root, b"twice")
    store.commit(root, [of(b"twice")])


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63])
def test_names_that_are_no_hash(root: Path, name: str) -> None:
    with pytest.raises(BundleError, match="SHA-256"):
        store.missing(root, [Blob(name, 1)])


def test_unpack_places_files_as_pip_would(root: Path) -> None:
    one = put(root, wheel({"pkg/__init__.py": b"x = 1\n", "pkg-1.dist-info/LICENSE": b"free"}))
    two = put(root, wheel({"b-1.data/purelib/b.py": b"y = 2\n", "b-1.data/scripts/b": b"#!", "empty/": b""}))
    request = wire.Unpack("abc123", (one, two))
    store.unpack(root, request)
    folder = store.runtime_folder(root, "abc123")
    assert folder is not None
    assert (folder / "pkg/__init__.py").read_bytes() == b"x = 1\n"
    assert (folder / "pkg-1.dist-info/LICENSE").read_bytes() == b"free"
    assert (folder / "b.py").read_bytes() == b"y = 2\n"
    assert not list(folder.rglob("scripts"))
    inode = folder.stat().st_ino
    store.unpack(root, request)
    assert folder.stat().st_ino == inode
    assert store.size(root) == one.size + two.size + 6 + 4 + 6


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", "a\\..\\outside"])
def test_a_wheel_may_not_reach_outside(root: Path, name: str) -> None:
    blob = put(root, wheel({"fine.py": b"", name: b"evil"}))
    with pytest.raises(BundleError, match="outside"):
        store.unpack(root, wire.Unpack("abc", (blob,)))
    assert list((root / "runtimes").iterdir()) == []


def test_a_wheel_may_not_hold_links(root: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    blob = put(root, sink.getvalue())
    with pytest.raises(BundleError, match="outside"):
        store.unpack(root, wire.Unpack("abc", (blob,)))


def test_what_is_no_wheel_is_refused(root: Path) -> None:
    blob = put(root, b"not a zip file")
    with pytest.raises(BundleError, match="not a wheel"):
        store.unpack(root, wire.Unpack("abc", (blob,)))
    with pytest.raises(BundleError, match="name for a folder"):
        store.unpack(root, wire.Unpack("../abc", (blob,)))
    with pytest.raises(DeviceError, match="lacks this runtime"):
        store.runtime_folder(root, "abc")


def test_unpack_killed_at_every_step_leaves_all_or_nothing(root: Path) -> None:
    blob = put(root, wheel({"pkg/__init__.py": b"x = 1\n", "pkg/b.py": b""}))
    step = 0
    while killed_at(step, lambda: store.unpack(root, wire.Unpack("abc", (blob,)))):
        folder = root / "runtimes/abc"
        if folder.exists():
            assert (folder / "pkg/__init__.py").read_bytes() == b"x = 1\n"
            assert store.runtime_folder(root, "abc") == folder
        step += 1
    assert step > 5
    store.clear(root)
    assert [one.name for one in (root / "runtimes").iterdir()] == ["abc"]


def test_collect_keeps_wheels_of_kept_runtimes(root: Path) -> None:
    kept, gone = put(root, wheel({"a.py": b"1"})), put(root, wheel({"b.py": b"2"}))
    loose, named = put(root, b"loose"), put(root, b"named")
    store.unpack(root, wire.Unpack("kept", (kept,)))
    store.unpack(root, wire.Unpack("gone", (gone,)))
    store.collect(root, {named.sha256}, {"kept"})
    assert {one.name for one in (root / "blobs").iterdir()} == {kept.sha256, named.sha256}
    assert [one.name for one in (root / "runtimes").iterdir()] == ["kept"]
    assert not store.has(root, loose)


def test_clear_takes_half_made_things_and_old_parts_only(root: Path) -> None:
    (root / "releases" / (files.TEMPORARY + "x")).mkdir()
    (root / (files.TEMPORARY + "y")).write_text("")
    fresh, old = of(b"fresh"), of(b"old")
    for blob in (fresh, old):
        store.part_path(root, blob).write_bytes(b"f")
    week_ago = time.time() - store.OLD_PART_S - 60
    os.utime(store.part_path(root, old), (week_ago, week_ago))
    assert store.clear(root) == 3
    assert [one.name for one in (root / "incoming").iterdir()] == [fresh.sha256 + ".part"]
    assert list((root / "releases").iterdir()) == []
