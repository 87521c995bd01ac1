"""ONNX files by ONNX Runtime, on its CPU kernels: one graph for every length up to the longest.

A language model that generates is one graph as well, which reads further tokens over a cache of keys and values, in
float32: ``edgekit.convert.onnx_decoder`` wrote it. Over a cache without any places it scores a text.
"""

from __future__ import annotations

import importlib.util
import platform
from typing import Any, Dict, List, Sequence

from edgekit.agent.runtimes import language
from edgekit.agent.runtimes.cached import Cached, Rows, only_scores
from edgekit.errors import DeviceError

#: Threads sleep while they wait: the board has other work, and a text is over in milliseconds.
_SETTINGS = {"session.intra_op.allow_spinning": "0", "session.inter_op.allow_spinning": "0"}
#: Signed int8 by int8, which is what ARM's kernels are fastest at.
_ARM = {"session.qdqisint8allowed": "1"}
#: x86's kernels want unsigned activations, and without VNNI add pairs of products in 16 bits, which overflow: there the
#: file's integers are multiplied as float32, which is exact, and faster than the kernels that do not overflow.
_X86 = {"session.disable_quant_qdq": "1"}
#: What the file says of its cache, in tokens, and of how many are read at once.
_CONTEXT, _CHUNK = "edgekit.context", "edgekit.chunk"
_CACHE = ("seen", "keys_", "values_")


def available() -> bool:
    """Import the package; False where it is not installed. A broken one raises what its import raises."""
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    import onnxruntime

    return hasattr(onnxruntime, "InferenceSession")


def load(path: str, threads: int) -> Graph:
    """Load a file. Raises DeviceError where it is damaged, or uses operators newer than this runtime."""
    return Graph(_session(path, threads))


def generating(path: str, threads: int) -> Decoding:
    """Load a file to generate with. Raises as ``load``, and where it was not made to generate."""
    return Decoding(_session(path, threads))


def _session(path: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    # with a plan and a pool for each length that ever came, memory would grow with what is asked
    options.enable_mem_pattern = options.enable_cpu_mem_arena = False
    for name, value in {**_SETTINGS, **(_X86 if platform.machine() in ("x86_64", "i686") else _ARM)}.items():
        options.add_session_config_entry(name, value)
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _failures() as error:
        raise DeviceError(
            "ONNX Runtime cannot load this file: {}".format(_said(error)),
            given=path,
            allowed="a whole .onnx file of operators that onnxruntime {} knows".format(onnxruntime.__version__),
        ) from error


class Graph(language.Said):
    def __init__(self, session: Any) -> None:
        import numpy

        self._numpy = numpy
        self._session = session
        self._names = {one.name for one in session.get_inputs()}
        self._nothing = _cache(session, 0)

    def run(self, length: int, ids: List[int], mask: List[int]) -> Sequence[float]:
        array, int32 = self._numpy.array, self._numpy.int32
        every: Any = self._numpy.arange(length, dtype=int32)
        known = {
            "input_ids": array([ids], int32),
            "attention_mask": array([mask], int32),
            "places": every,
            "chosen": every,
        }
        given = {name: one for name, one in known.items() if name in self._names}
        self._logits = _run(self._session, ["logits"], {**given, **self._nothing}, length)[0][0]
        return language.answer(self._logits, mask)


class Decoding(Cached):
    """Its cache is this object's own, and read where it is. Raises DeviceError where the file was not made to
    generate."""

    def __init__(self, session: Any) -> None:
        said = session.get_modelmeta().custom_metadata_map
        names = [one.name for one in session.get_inputs()]
        if _CONTEXT not in said:
            raise only_scores(", ".join(names), "a graph with a cache")
        super().__init__(names, int(said[_CONTEXT]), int(said[_CHUNK]))
        self._session = session
        self._kept = _cache(session, self.context)

    def _input(self, name: str) -> Any:
        return self._kept[name]

    def _compute(self, ids: List[int]) -> Rows:
        array, int32, count = self._numpy.array, self._numpy.int32, len(ids)
        given = {"input_ids": array([ids], int32), "chosen": array([count - 1], int32)}
        if not self.rolls:
            given["places"] = self._numpy.arange(self.filled, self.filled + count, dtype=int32)
        logits, keys, values = _run(self._session, ["logits", "new_keys", "new_values"], {**given, **self._kept}, count)
        return logits[0, 0], keys, values


def _cache(session: Any, places: int) -> Dict[str, Any]:
    """The parts of a cache with so many places, by name, nothing being in it; none where the graph knows none."""
    import numpy

    return {
        one.name: numpy.zeros([places if isinstance(size, str) else size for size in one.shape], numpy.float32)
        for one in session.get_inputs()
        if one.name.startswith(_CACHE)
    }


def _run(session: Any, outputs: List[str], given: Dict[str, Any], tokens: int) -> List[Any]:
    try:
        found: List[Any] = session.run(outputs, given)
    except _failures() as error:
        raise DeviceError("ONNX Runtime cannot run this file: {}".format(_said(error)), given=tokens) from error
    return found


def _failures() -> Any:
    """What the runtime raises: classes of its own, below Exception itself."""
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    return tuple(one for one in vars(states).values() if isinstance(one, type) and issubclass(one, Exception))


def _said(error: Exception) -> str:
    """The first line of what the runtime says, without its place in the runtime's sources."""
    lines = str(error).strip().splitlines()
    return lines[0].split(" : ", 2)[-1] if lines else type(error).__name__
