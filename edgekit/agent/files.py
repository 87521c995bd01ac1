"""Writing to disk so that a power cut leaves the old or the new, never a mixture.

Everything is made under a name that starts with ``TEMPORARY`` in the folder where it is to stand, flushed, renamed, and
the folder is flushed too: a rename that only the page cache knows of is not there after a power cut.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from edgekit.errors import BundleError

TEMPORARY = ".tmp-"
_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def sync(path: Path) -> None:
    """Flush one file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, text: str) -> None:
    """Replace ``path`` by a file that holds ``text`` (UTF-8)."""
    handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync(path.parent)


def point(link: Path, target: str) -> None:
    """Make the symbolic link ``link`` point to ``target`` in one step."""
    temporary = Path(tempfile.mktemp(prefix=TEMPORARY, dir=link.parent))
    os.symlink(target, temporary)
    try:
        os.replace(temporary, link)
    except BaseException:
        temporary.unlink()
        raise
    sync(link.parent)


def temporary_folder(parent: Path) -> Path:
    """A new folder beside what it will become."""
    return Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent))


def remove_folder(path: Path) -> None:
    """Remove a folder so that it is either whole under its name or gone: rename it away first."""
    doomed = Path(tempfile.mktemp(prefix=TEMPORARY, dir=path.parent))
    os.rename(path, doomed)
    sync(path.parent)
    shutil.rmtree(doomed, ignore_errors=True)


def clear_temporary(folder: Path) -> int:
    """Remove what an interrupted process left half-made in ``folder``; answers how many there were."""
    found = [one for one in folder.iterdir() if one.name.startswith(TEMPORARY)]
    for one in found:
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                one.unlink()
    return len(found)


def hash_name(text: str) -> str:
    """``text`` if it is a SHA-256 in hex, as names of blobs and releases must be. Raises BundleError."""
    if not _HASH.fullmatch(text):
        raise BundleError("not a SHA-256", given=text, allowed="64 hexadecimal digits, lower case")
    return text


def folder_name(text: str) -> str:
    """``text`` if it can name a folder of ours and nothing outside. Raises BundleError."""
    if not _NAME.fullmatch(text):
        raise BundleError("not a name for a folder", given=text, allowed="letters, digits, dot, dash, underscore")
    return text
