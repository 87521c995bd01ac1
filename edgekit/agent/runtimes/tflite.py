"""TFLite files by ``tflite_runtime``, LiteRT's predecessor: the only one with wheels for 32-bit ARM."""

from __future__ import annotations

import importlib.util

from edgekit.agent.runtimes.interpreted import Interpreted
from edgekit.agent.runtimes.litert import Signatures


def available() -> bool:
    """Import the package; False where it is not installed. A broken one raises what its import raises."""
    if importlib.util.find_spec("tflite_runtime") is None:
        return False
    import tflite_runtime.interpreter

    return hasattr(tflite_runtime.interpreter, "Interpreter")


def load(path: str, threads: int) -> Signatures:
    """Load a file and allocate. Raises ValueError or RuntimeError where it is damaged, or uses operator versions newer
    than this runtime."""
    from tflite_runtime.interpreter import Interpreter

    return Signatures(Interpreter(model_path=path, num_threads=threads))


def generating(path: str, threads: int) -> Interpreted:
    """Load a file to generate with. Raises as ``load``."""
    from tflite_runtime.interpreter import Interpreter

    return Interpreted(Interpreter(model_path=path, num_threads=threads))
