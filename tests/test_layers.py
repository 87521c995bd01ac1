"""The import rules of the architecture: which unit may import which. Anything else is forbidden."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "edgekit"
PIPELINE = {
    "pipeline",
    "building",
    "evaluating",
    "inventory",
    "fieldwork",
    "home",
    "stages",
    "outcome",
    "judge",
    "lock",
    "searching",
    "trying",
    "tabling",
    "serving",
    "shelf",
    "analyzing",
    "starting",
    "answering",
    "asking",
    "checking",
    "delivering",
    "tuning",
}
STAGES = {"data", "models", "compress", "convert", "bundle", "benchmark", "report", "emulate", "load"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "spec": {"errors"},
    "agent": {"spec", "errors"},
    **{stage: {"spec", "errors"} for stage in STAGES},
    "compress": {"spec", "errors", "data", "models"},
    "convert": {"spec", "errors", "data", "models"},
    "exploration": {"compress", "convert", "models", "data", "spec", "errors"},
    "report": {"spec", "errors", "benchmark"},
    "deliver": {"spec", "bundle", "errors"},
    "client": {"spec", "errors"},
    "pipeline": {"spec", "errors", "client", "deliver", "exploration", *STAGES},
    "cli": {"pipeline", "load", "report", "spec", "errors"},
    "__init__": {"pipeline", "client", "errors", "spec"},
    "__main__": {"cli"},
}
ON_DEVICE = [
    ROOT / "__init__.py",
    ROOT / "errors.py",
    *sorted((ROOT / "spec").rglob("*.py")),
    *sorted((ROOT / "agent").rglob("*.py")),
]
#: What the runtimes of the agent may import lazily, besides the standard library.
RUNTIMES = {"numpy", "onnxruntime", "ai_edge_litert", "tflite_runtime", "torch", "tokenizers"}


def _unit(module: str) -> str:
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else "__init__"
    return "pipeline" if name in PIPELINE else name


def _imports(file: Path) -> list[str]:
    tree = ast.parse(file.read_text())
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            # 'from edgekit import load' names a unit, 'from edgekit.spec import recipe' a module
            found += [f"edgekit.{one.name}" for one in node.names] if module == "edgekit" else [module]
    return found


def _modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("file", _modules(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_unit_imports_only_what_it_may(file: Path) -> None:
    relative = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    unit = _unit("edgekit." + relative)
    used = {_unit(one) for one in _imports(file) if one == "edgekit" or one.startswith("edgekit.")} - {
        unit,
        "__version__",
    }
    if unit != "__init__":
        used -= {"__init__"}
    assert used <= ALLOWED[unit], f"{unit} may import {sorted(ALLOWED[unit])}, not {sorted(used - ALLOWED[unit])}"


@pytest.mark.parametrize("file", ON_DEVICE, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_what_runs_on_the_device_is_python_3_9_and_standard_library(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=(3, 9))
    outside = {one.split(".")[0] for one in _imports(file)} - {"edgekit"} - set(sys.stdlib_module_names)
    assert outside <= RUNTIMES, f"{file}: {sorted(outside)}"


def test_importing_edgekit_and_its_command_line_stays_light() -> None:
    code = "import sys, edgekit, edgekit.cli.main; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "transformers", "numpy", "paramiko", "rich", "yaml", "msgspec"} & set(loaded)


def test_no_file_has_outgrown_its_room() -> None:
    lengths = {file: len(file.read_text().splitlines()) for file in _modules()}
    assert not {file.name: lines for file, lines in lengths.items() if lines > 500}
