"""ExecuTorch files (``.pte``) by its Python runtime, which takes torch along: one method for every length."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, List, Optional, Sequence

from edgekit.agent.runtimes import language
from edgekit.errors import DeviceError
from edgekit.spec.task import NextTokens

#: The compiled module, by its names in newer and older releases. The package around it would import the whole exporter.
_BINDINGS = ("_C", "_portable_lib")
_METHOD = "forward"


def available() -> bool:
    """Import the package; False where it is not installed. A broken one raises what its import raises."""
    if importlib.util.find_spec("executorch") is None:
        return False
    return hasattr(_bindings(), "_load_for_executorch")


def load(path: str, threads: int) -> Method:
    """Load a file. Raises DeviceError where it is damaged, or asks for operators that this runtime lacks."""
    import torch

    bindings = _bindings()
    bindings._unsafe_reset_threadpool(threads)
    try:
        module = bindings._load_for_executorch(path)
        # the file is only read when something is asked of it
        module.method_meta(_METHOD)
    except RuntimeError as error:
        raise DeviceError("ExecuTorch cannot load this file: {}".format(error), given=path) from error
    return Method(torch, module)


class Method:
    def __init__(self, torch: Any, module: Any) -> None:
        self._torch = torch
        self._module = module
        self._logits: Any = None

    def run(self, length: int, ids: List[int], mask: List[int]) -> Sequence[float]:
        tensor, int32 = self._torch.tensor, self._torch.int32
        try:
            answer = self._module.forward([tensor([ids], dtype=int32), tensor([mask], dtype=int32)])[0]
        except RuntimeError as error:
            raise DeviceError("ExecuTorch cannot run this file: {}".format(error), given=length) from error
        self._logits = answer[0]
        return language.answer(self._logits, mask)

    def told(self, ids: Sequence[int]) -> Optional[NextTokens]:
        return language.told(self._logits if self._logits.ndim == 1 else self._logits.numpy(), ids)


def _bindings() -> Any:
    # its libraries are torch's own, found only once torch is loaded
    import torch  # noqa: F401

    for name in _BINDINGS:
        full = "executorch.extension.pybindings.{}".format(name)
        if importlib.util.find_spec(full) is not None:
            return importlib.import_module(full)
    raise ImportError("this executorch package has no compiled module", name="executorch")
