from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgekit.data import debian
from edgekit.errors import DataError

LISTS = """Package: 0ad
Section: games
Description: Real-time strategy game
 a longer text that is no description line
Section-Of-Nothing: x

Package: libfoo
Section: libs
Description: a library

Package: quake
Section: contrib/games
Description-en: First person shooter

Package: nothing
Section: games
"""
POLICY = """Package files:
 500 http://localhost/debian bookworm/main amd64 Packages
     release v=12.1,o=Debian,a=stable,n=bookworm,l=Debian,c=main,b=amd64
"""


def apt_cache(folder: Path, monkeypatch: pytest.MonkeyPatch, lists: str, code: int = 0) -> None:
    """A real program of that name, first and only in PATH."""
    (folder / "dumpavail").write_text(lists)
    (folder / "policy").write_text(POLICY)
    program = folder / "apt-cache"
    program.write_text(f'#!/bin/sh\nwhile IFS= read -r line; do echo "$line"; done < {folder}/"$1"\nexit {code}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_reads_sections_and_releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt_cache(tmp_path, monkeypatch, LISTS)
    rows, provenance = debian.read()
    assert rows == [("Real-time strategy game", "games"), ("First person shooter", "games")]
    assert provenance["releases"] == "bookworm 12.1"


def test_the_other_sections_are_texts_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt_cache(tmp_path, monkeypatch, LISTS)
    assert list(debian.others(debian.SECTIONS)) == ["a library"]
    assert list(debian.others(("libs",))) == ["Real-time strategy game", "First person shooter"]


def test_empty_lists_say_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt_cache(tmp_path, monkeypatch, "")
    with pytest.raises(DataError, match="apt-get update"):
        debian.read()


def test_a_failing_apt_cache_is_no_empty_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt_cache(tmp_path, monkeypatch, LISTS, code=100)
    with pytest.raises(DataError, match="dumpavail failed"):
        debian.read()


def test_without_apt_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="does not have"):
        debian.read()
