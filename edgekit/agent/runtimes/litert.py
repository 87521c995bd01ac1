"""TFLite files by LiteRT (``ai_edge_litert``), with XNNPACK, its default delegate."""

from __future__ import annotations

import importlib.util
from typing import Any, Dict, List, Sequence

from edgekit.agent.runtimes import language
from edgekit.agent.runtimes.interpreted import Interpreted


def available() -> bool:
    """Import the package; False where it is not installed. A broken one raises what its import raises."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return False
    import ai_edge_litert.interpreter

    return hasattr(ai_edge_litert.interpreter, "Interpreter")


def load(path: str, threads: int) -> Signatures:
    """Load a file and allocate. Raises ValueError or RuntimeError where it is damaged."""
    from ai_edge_litert.interpreter import Interpreter

    return Signatures(Interpreter(model_path=path, num_threads=threads))


def generating(path: str, threads: int) -> Interpreted:
    """Load a file to generate with. Raises ValueError or RuntimeError where it is damaged."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreted(Interpreter(model_path=path, num_threads=threads))


class Signatures(language.Said):
    """One signature ``len<length>`` a bucket. The file has their weights once; ``allocate_tensors`` lets the delegate
    pack them, for each signature anew. What a length takes beyond that is its activations, at its first use."""

    def __init__(self, interpreter: Any) -> None:
        import numpy

        self._numpy = numpy
        self._interpreter = interpreter
        self._runners: Dict[int, Any] = {}
        interpreter.allocate_tensors()

    def run(self, length: int, ids: List[int], mask: List[int]) -> Sequence[float]:
        if length not in self._runners:
            self._runners[length] = self._interpreter.get_signature_runner("len{}".format(length))
        array, int32 = self._numpy.array, self._numpy.int32
        answers = self._runners[length](input_ids=array([ids], int32), attention_mask=array([mask], int32))
        self._logits = answers["logits"][0]
        return language.answer(self._logits, mask)
