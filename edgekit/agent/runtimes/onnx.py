"""ONNX files by ONNX Runtime, on its CPU kernels: one graph for every length up to the longest."""

from __future__ import annotations

import importlib.util
import platform
from typing import Any, Dict, List, Optional, Sequence

from edgekit.agent.runtimes import language
from edgekit.errors import DeviceError
from edgekit.spec.task import NextTokens

#: Threads sleep while they wait: the board has other work, and a text is over in milliseconds.
_SETTINGS = {"session.intra_op.allow_spinning": "0", "session.inter_op.allow_spinning": "0"}
#: Signed int8 by int8, which is what ARM's kernels are fastest at.
_ARM = {"session.qdqisint8allowed": "1"}
#: x86's kernels want unsigned activations, and without VNNI add pairs of products in 16 bits, which overflow: there the
#: file's integers are multiplied as float32, which is exact, and faster than the kernels that do not overflow.
_X86 = {"session.disable_quant_qdq": "1"}


def available() -> bool:
    """Import the package; False where it is not installed. A broken one raises what its import raises."""
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    import onnxruntime

    return hasattr(onnxruntime, "InferenceSession")


def load(path: str, threads: int) -> Graph:
    """Load a file. Raises DeviceError where it is damaged, or uses operators newer than this runtime."""
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
        return Graph(onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
    except _failures() as error:
        raise DeviceError(
            "ONNX Runtime cannot load this file: {}".format(_said(error)),
            given=path,
            allowed="a whole .onnx file of operators that onnxruntime {} knows".format(onnxruntime.__version__),
        ) from error


class Graph:
    def __init__(self, session: Any) -> None:
        import numpy

        self._numpy = numpy
        self._session = session
        self._failures = _failures()
        self._logits: Any = None

    def run(self, length: int, ids: List[int], mask: List[int]) -> Sequence[float]:
        array, int32 = self._numpy.array, self._numpy.int32
        given: Dict[str, Any] = {"input_ids": array([ids], int32), "attention_mask": array([mask], int32)}
        try:
            self._logits = self._session.run(["logits"], given)[0][0]
        except self._failures as error:
            raise DeviceError("ONNX Runtime cannot run this file: {}".format(_said(error)), given=length) from error
        return language.answer(self._logits, mask)

    def told(self, ids: Sequence[int]) -> Optional[NextTokens]:
        return language.told(self._logits, ids)


def _failures() -> Any:
    """What the runtime raises: classes of its own, below Exception itself."""
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    return tuple(one for one in vars(states).values() if isinstance(one, type) and issubclass(one, Exception))


def _said(error: Exception) -> str:
    """The first line of what the runtime says, without its place in the runtime's sources."""
    lines = str(error).strip().splitlines()
    return lines[0].split(" : ", 2)[-1] if lines else type(error).__name__
