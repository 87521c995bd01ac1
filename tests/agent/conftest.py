"""A device's root folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.agent import store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    store.prepare(path)
    return path
