"""On how many threads edgekit trains, told without torch."""

from __future__ import annotations

import os

#: More than these gain nothing for models and batches as small as ours.
MOST = 8


def count() -> int:
    """All cores, but no more than ``MOST``; ``OMP_NUM_THREADS`` overrides."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(asked) if asked.isdigit() and int(asked) else min(os.cpu_count() or 1, MOST)
