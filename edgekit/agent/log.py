"""The agent's log: one JSON document a line in ``log.jsonl``; at ``LIMIT`` bytes it becomes ``log.jsonl.1``.

It records what changed and what failed; never the texts that users ask about.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Tuple

NAME = "log.jsonl"
LIMIT = 1 << 20


def write(root: Path, event: str, **parts: object) -> None:
    """Append one event. A full disk must not stop a rollback, so that a failed write is let go."""
    line = json.dumps(dict(time=round(time.time(), 3), pid=os.getpid(), event=event, **parts), ensure_ascii=False)
    path = root / NAME
    try:
        if path.exists() and path.stat().st_size > LIMIT:
            os.replace(path, root / (NAME + ".1"))
        with path.open("ab", buffering=0) as file:
            file.write(line.encode("utf-8", "replace") + b"\n")
    except OSError:
        return


def tail(root: Path, count: int) -> Tuple[str, ...]:
    """The last ``count`` lines, oldest first."""
    lines: Tuple[str, ...] = ()
    for path in (root / (NAME + ".1"), root / NAME):
        if path.exists():
            lines += tuple(path.read_text(encoding="utf-8", errors="replace").splitlines())
    return lines[-count:] if count > 0 else ()
