"""TorchScript-mobile files (``.ptl``): one module for all lengths. PyTorch deprecates the format, so it stays here."""

from __future__ import annotations

import importlib.util
from typing import Any, List, Optional, Sequence

from edgekit.agent.runtimes import language
from edgekit.spec.task import NextTokens


def available() -> bool:
    """Import the package; False where it is not installed. A broken one raises what its import raises."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch.jit.mobile

    return hasattr(torch.jit.mobile, "_load_for_lite_interpreter")


def load(path: str, threads: int) -> Module:
    """Load a file. Raises RuntimeError where it is damaged."""
    import torch
    from torch.jit.mobile import _load_for_lite_interpreter

    torch.set_num_threads(threads)
    if "qnnpack" in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = "qnnpack"
    return Module(torch, _load_for_lite_interpreter(path))


class Module(language.Said):
    def __init__(self, torch: Any, module: Any) -> None:
        self._torch = torch
        self._module = module

    def run(self, length: int, ids: List[int], mask: List[int]) -> Sequence[float]:
        tensor, int32 = self._torch.tensor, self._torch.int32
        with self._torch.no_grad():
            answer = self._module(tensor([ids], dtype=int32), tensor([mask], dtype=int32))
        self._logits = answer[0]
        return language.answer(self._logits, mask)

    def told(self, ids: Sequence[int]) -> Optional[NextTokens]:
        # only a language model's board needs numpy beside torch
        return language.told(self._logits if self._logits.ndim == 1 else self._logits.numpy(), ids)
