"""Without the host extra, converting says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("missing", ["torch", "numpy", "tokenizers", "ai_edge_litert", "ai_edge_quantizer"])
def test_a_missing_package_is_one_sentence(missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
from edgekit.errors import MissingExtra
try:
    import edgekit.convert
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "which is not installed" in done.stdout, done.stderr
    assert "pip install 'edgekit[host]'" in done.stdout
