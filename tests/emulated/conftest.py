"""What the emulated tests share: one cache, so that the board's image is built once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.home import Home


@pytest.fixture(scope="session")
def board_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``$EDGEKIT_TEST_CACHE`` where it is set, to keep images and wheels between runs."""
    kept = os.environ.get("EDGEKIT_TEST_CACHE")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        return Path(kept)
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, board_cache: Path) -> Home:
    """Of one module's own, over the shared cache."""
    root = tmp_path_factory.mktemp("home")
    (root / "cache").symlink_to(board_cache)
    return Home(root)
