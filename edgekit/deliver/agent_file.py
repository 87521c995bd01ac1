"""The agent as one file: a zipapp of edgekit's errors, specs and agent, the same bytes on every host.

It is named by its own hash, so that a device keeps the agents of several hosts side by side and no half-written or
older one is ever taken for the right one.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import edgekit
from edgekit.errors import UsageError

SHEBANG = b"#!/usr/bin/env python3\n"
#: The exit status with which the file tells that the device's Python is older than 3.9.
TOO_OLD = 86
_EPOCH = (1980, 1, 1, 0, 0, 0)
# Runs under any Python, so that an old one gets a sentence and no SyntaxError. It unpacks itself beside the file once,
# so that Python keeps the bytecode: compiling out of a zip costs a small board seconds at every start.
_MAIN = f"""\
import os
import sys

if sys.version_info < (3, 9):
    sys.stderr.write("python %d.%d.%d\\n" % tuple(sys.version_info[:3]))
    sys.exit({TOO_OLD})


def unpacked(file):
    import shutil, tempfile, zipfile

    folder = file + ".d"
    if os.path.isdir(folder):
        return folder
    temporary = None
    try:
        temporary = tempfile.mkdtemp(prefix=".agent-", dir=os.path.dirname(file))
        with zipfile.ZipFile(file) as archive:
            archive.extractall(temporary)
        # whole on the disk before it has its name: a power cut must not leave empty files there
        os.sync()
        os.rename(temporary, folder)
    except OSError:
        # no space, or another agent was first
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder if os.path.isdir(folder) else file


sys.path[0] = unpacked(os.path.abspath(sys.argv[0]))

from edgekit.agent.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
"""
# the package's own __init__ is the host's public API, for Python 3.11
_INIT = '"""edgekit on a device."""\n\n__version__ = "{}"\n'


def build(cache: Path) -> Path:
    """Write ``agent-<sha256[:12]>.pyz`` into ``cache``, unless it is there, and return it."""
    data = _bytes()
    file = cache / f"agent-{hashlib.sha256(data).hexdigest()[:12]}.pyz"
    if file.is_file() and file.read_bytes() == data:
        return file
    try:
        cache.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=cache, prefix=".agent-")
    except OSError as error:
        raise UsageError(f"the cache cannot be written: {error.strerror}", where=str(cache)) from error
    with os.fdopen(handle, "wb") as sink:
        sink.write(data)
    os.chmod(temporary, 0o755)
    os.replace(temporary, file)
    return file


def _bytes() -> bytes:
    sink = io.BytesIO()
    # stored, not deflated: a compressor's output may differ between two versions of zlib
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(_members()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    return SHEBANG + sink.getvalue()


def _members() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", _MAIN.encode()
    yield "edgekit/__init__.py", _INIT.format(edgekit.__version__).encode()
    package = Path(__file__).parents[1]
    sources = [package / "errors.py", *(package / "spec").rglob("*.py"), *(package / "agent").rglob("*.py")]
    for file in sources:
        yield f"edgekit/{file.relative_to(package).as_posix()}", file.read_bytes()
