"""The memory a file will take, told from the file, against what a process takes that loads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.slow]
pytest.importorskip("litert_torch", reason="needs the 'host' extra")
#: Loads and runs as the agent's child does; the agent's own texts and tokenizer are not there.
SCRIPT = """
from edgekit.agent import memory
bare = memory.rss()
import sys, tokenizers
from edgekit.agent.runtimes import loader
runner = loader("tflite")(sys.argv[1], 1)
for length in map(int, sys.argv[2].split(",")):
    runner.run(length, [1] * length, [1] * length)
print(memory.high_water() - bare)
"""


@pytest.mark.parametrize("lengths", [(8,), (8, 16, 32, 64)])
def test_the_estimate_is_an_upper_bound_within_a_quarter(lengths: tuple[int, ...], tmp_path: Path) -> None:
    from toy import Toy

    from edgekit.convert import footprint, tflite

    file = tmp_path / "model.tflite"
    # the products of this width take 34 MB, and are packed once a bucket
    tflite.export(Toy(2048), lengths, file)
    estimated = footprint.estimate(file, "tflite", 0)
    command = [sys.executable, "-c", SCRIPT, str(file), ",".join(map(str, lengths))]
    measured = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert estimated is not None
    assert 1.0 <= estimated / measured <= 1.25, f"{estimated / 1e6:.1f} MB estimated, {measured / 1e6:.1f} MB measured"


def test_nothing_is_estimated_of_a_runtime_that_is_not_known_so_well(tmp_path: Path) -> None:
    from edgekit.convert import footprint

    assert footprint.estimate(tmp_path / "model.onnx", "onnx", 0) is None
