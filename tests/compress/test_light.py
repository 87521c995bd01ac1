"""The package itself stays light, and says what it lacks."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout + done.stderr


def test_importing_it_loads_no_torch() -> None:
    code = "import sys, edgekit.compress, edgekit.data.samples, edgekit.models.source\n"
    code += "print({'torch', 'numpy'} & {*sys.modules})"
    assert run(code).strip() == "set()"


@pytest.mark.parametrize(
    "call",
    [
        "compress.accuracy(None, [], [16])",
        "compress.apply(Step(finetune=Finetune()), None, None, None, Path('x'), lengths=[16], seed=1)",
    ],
)
def test_without_torch_it_names_the_extra(call: str) -> None:
    code = "import sys; sys.modules['torch'] = None\n"
    code += "from pathlib import Path\nfrom edgekit import compress\n"
    code += "from edgekit.spec.recipe import Step\nfrom edgekit.spec.steps import Finetune\n"
    assert "pip install 'edgekit[host]'" in run(code + call)
