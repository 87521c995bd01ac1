from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest
from bundle_kit import Made, small_manifest

from edgekit import bundle
from edgekit.bundle import build
from edgekit.errors import BundleError, UsageError


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_reads_back_under_the_digest_of_its_manifest(made: Made) -> None:
    manifest, digest = bundle.read(made.folder)
    assert manifest == made.manifest
    assert digest == hashlib.sha256((made.folder / "manifest.json").read_bytes()).hexdigest()
    assert names(made.folder) == {"manifest.json", "manifest.json.sig", *(f"blobs/{one}" for one in made.blobs)}


def test_the_same_content_gives_the_same_digest_anywhere(made: Made, tmp_path: Path) -> None:
    digest = build.write(tmp_path / "elsewhere" / "deep", made.manifest, made.blobs)
    assert digest == bundle.read(made.folder)[1]
    other = dataclasses.replace(made.manifest, seed=8)
    assert build.write(tmp_path / "other", other, made.blobs) != digest


def test_writing_again_replaces_the_whole_bundle(made: Made) -> None:
    before = names(made.folder)
    digest = build.write(made.folder, dataclasses.replace(made.manifest, seed=8), made.blobs, made.key)
    assert bundle.read(made.folder)[1] == digest
    assert names(made.folder) == before
    assert [path.name for path in made.folder.parent.iterdir() if path.name.startswith(".")] == []


def test_a_blob_that_was_not_given_is_named_and_nothing_is_left(made: Made, tmp_path: Path) -> None:
    short = {key: file for key, file in made.blobs.items() if key != made.manifest.golden.sha256}
    with pytest.raises(BundleError, match="golden cases"):
        build.write(tmp_path / "fresh", made.manifest, short)
    assert not (tmp_path / "fresh").exists()


def test_a_blob_of_other_content_is_refused_and_the_old_bundle_stays(made: Made, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"X" * made.manifest.optimized.blob.size)
    before = names(made.folder)
    with pytest.raises(BundleError, match="tflite artifact minilm-w8_a8_static") as caught:
        build.write(made.folder, made.manifest, {**made.blobs, made.manifest.optimized.blob.sha256: wrong})
    assert hashlib.sha256(wrong.read_bytes()).hexdigest() in str(caught.value.given)
    assert names(made.folder) == before
    assert {path.name for path in tmp_path.iterdir()} == {"sources", "bundle", "wrong"}


def test_a_hash_that_could_leave_the_folder_is_refused(made: Made, tmp_path: Path) -> None:
    evil = dataclasses.replace(made.manifest.golden, sha256="../../etc/passwd")
    with pytest.raises(BundleError, match="no SHA-256"):
        build.write(tmp_path / "fresh", dataclasses.replace(made.manifest, golden=evil), made.blobs)


def test_something_else_in_the_way_is_not_replaced(made: Made, tmp_path: Path) -> None:
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_text("cat")
    with pytest.raises(UsageError, match="in the way"):
        build.write(other, made.manifest, made.blobs)
    assert (other / "cat.jpg").read_text() == "cat"


@pytest.mark.parametrize("name", ["notes.txt", "blobs/notes.txt", "deep/notes.txt"])
def test_a_bundle_with_something_of_the_users_in_it_is_not_replaced(name: str, made: Made) -> None:
    (made.folder / name).parent.mkdir(exist_ok=True)
    (made.folder / name).write_text("mine")
    with pytest.raises(UsageError, match="in the way") as caught:
        build.write(made.folder, made.manifest, made.blobs)
    assert name.partition("/")[0] in str(caught.value.given)
    assert (made.folder / name).read_text() == "mine"


@pytest.mark.parametrize("text", ['{"manifest_version": 3, "name": "a browser extension"}', "", "[]"])
def test_another_programs_manifest_is_not_taken_for_a_bundle(text: str, made: Made, tmp_path: Path) -> None:
    other = tmp_path / "extension"
    other.mkdir()
    (other / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match="in the way"):
        build.write(other, made.manifest, made.blobs)
    assert (other / "manifest.json").read_text() == text


def test_the_old_bundle_comes_back_where_the_new_one_cannot_take_its_place(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, before = os.rename, bundle.read(made.folder)

    def refuse(source: Path, destination: Path) -> None:
        if Path(source).name == "new":
            raise OSError("no")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="no"):
        build.write(made.folder, dataclasses.replace(made.manifest, seed=8), made.blobs)
    assert bundle.read(made.folder) == before
    assert names(made.folder) >= {f"blobs/{one}" for one in made.blobs}


def test_an_existing_empty_folder_is_taken(made: Made, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    build.write(tmp_path / "empty", made.manifest, made.blobs)
    assert bundle.read(tmp_path / "empty")[0] == made.manifest


def test_blobs_are_copied_where_they_cannot_be_linked(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    build.write(tmp_path / "copied", made.manifest, made.blobs)
    copied = bundle.blob_file(tmp_path / "copied", made.manifest.golden)
    assert copied.stat().st_nlink == 1
    assert copied.read_bytes() == made.blobs[made.manifest.golden.sha256].read_bytes()


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("x")])
def test_what_is_no_bundle_is_refused(make, tmp_path: Path) -> None:
    make(tmp_path / "it")
    with pytest.raises(BundleError, match="not a bundle") as caught:
        bundle.read(tmp_path / "it")
    assert "edgekit build" in caught.value.remedy


def test_a_manifest_with_an_unknown_key_says_where(made: Made) -> None:
    (made.folder / "manifest.json").write_text('{"name": "x", "colour": "red"}')
    with pytest.raises(BundleError, match="unknown key 'colour'") as caught:
        bundle.read(made.folder)
    assert "manifest.json $" in caught.value.where


def test_find_lists_newest_first_and_by_target(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    shelf = tmp_path / "bundles"
    for age, (name, target) in enumerate([("new", "rpi4"), ("five", "rpi5"), ("old", "rpi4")]):
        build.write(shelf / name, *small_manifest(sources, target, seed=age))
        stamp = 2_000_000_000 - age * 60
        os.utime(shelf / name / "manifest.json", (stamp, stamp))
    (shelf / "notes").mkdir()
    assert [one.folder.name for one in bundle.find(shelf)] == ["new", "five", "old"]
    assert [one.folder.name for one in bundle.find(shelf, "rpi4")] == ["new", "old"]
    assert bundle.find(shelf, "rpi3") == []
    assert bundle.find(tmp_path / "nowhere") == []


def test_find_does_not_pass_over_a_damaged_bundle(made: Made) -> None:
    (made.folder / "manifest.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match="does not read"):
        bundle.find(made.folder.parent)
