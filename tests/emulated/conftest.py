"""What the emulated tests share: one cache, so that the board's image is built once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def board_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``$EDGEKIT_TEST_CACHE`` where it is set, to keep images and wheels between runs."""
    kept = os.environ.get("EDGEKIT_TEST_CACHE")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        return Path(kept)
    return tmp_path_factory.mktemp("cache")
