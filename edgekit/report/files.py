"""Reports appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edgekit.errors import UsageError


def write_text(file: Path, text: str) -> Path:
    """Write UTF-8 text by way of a temporary sibling. Raises UsageError where the folder cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise UsageError(f"the report cannot be written: {error.strerror}", given=str(file)) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except OSError as error:
        raise UsageError(f"the report cannot be written: {error.strerror}", given=str(file)) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return file
