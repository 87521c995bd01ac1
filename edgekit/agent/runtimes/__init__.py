"""Runtimes: one file each, with ``load(path, threads) -> Runner``. Their packages are imported in ``load``."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Protocol, Sequence, Tuple

from edgekit.agent.runtimes import executorch, litert, onnx, tflite, torchscript
from edgekit.errors import DeviceError
from edgekit.spec.task import NextTokens


class Runner(Protocol):
    def run(self, length: int, ids: List[int], mask: List[int]) -> Sequence[float]:
        """Logits of one text, or of a language model those of the token after it. ``ids`` and ``mask`` are ``length``
        long; ``mask`` is 1 for a token, 0 for padding."""

    def told(self, ids: Sequence[int]) -> Optional[NextTokens]:
        """Of the text that was run last, whose tokens are ``ids``: how well each was told by those before it. ``None``
        where the model is a classifier."""

    def rows(self, places: Sequence[int]) -> List[List[float]]:
        """Of the text that was run last: the logits at some of its tokens. Raises DeviceError where the model has none
        for each."""


class Generating(Protocol):
    """A language model with what it keeps of the tokens it has read. ``context`` is how many tokens that holds,
    ``filled`` how many were read; where it ``rolls`` the oldest ones fall out by themselves, and there may be any
    number."""

    context: int
    rolls: bool
    filled: int

    def feed(self, ids: Sequence[int]) -> None:
        """Read further tokens, one or more; where it does not roll, no more than there is room for."""

    def keep(self, tokens: int) -> int:
        """Forget all but the first ``tokens`` that were read; how many are left: all, or none where it rolls."""

    def saved(self) -> Tuple[Any, int]:
        """A copy of what was read, and the bytes that it takes."""

    def restore(self, saved: Any) -> None:
        """Have read what was ``saved``, and nothing else."""

    def likeliest(self, count: Optional[int]) -> Tuple[List[int], List[float]]:
        """The next token: the ``count`` likeliest ones, all where ``None``, with their logits, greatest first. Raises
        DeviceError where there is only one, and its is no number."""

    def drawn(self, temperature: float, top_k: Optional[int], top_p: float, chance: float) -> int:
        """The next token, drawn by ``chance``, which is any number from 0 up to 1: see ``edgekit.agent.sampling``.
        Raises DeviceError where a logit is no number."""


#: What loads a file of a format, its runtime being imported: to score texts with, or to generate.
Load = Callable[[str, int], Runner]
LoadGenerating = Callable[[str, int], Generating]


def _tflite() -> Load:
    """LiteRT where the runtime folder has it, else its predecessor (boards without wheels for LiteRT)."""
    if litert.available():
        return litert.load
    if tflite.available():
        return tflite.load
    raise DeviceError("no runtime for tflite files here", allowed="ai_edge_litert, tflite_runtime")


def _ptl() -> Load:
    if not torchscript.available():
        raise DeviceError("no runtime for ptl files here", allowed="torch")
    return torchscript.load


def _onnx() -> Load:
    if not onnx.available():
        raise DeviceError("no runtime for onnx files here", allowed="onnxruntime")
    return onnx.load


def _pte() -> Load:
    if not executorch.available():
        raise DeviceError("no runtime for pte files here", allowed="executorch")
    return executorch.load


_BY_FORMAT: Dict[str, Callable[[], Load]] = {"tflite": _tflite, "ptl": _ptl, "onnx": _onnx, "pte": _pte}


def loader(format: str) -> Load:
    """What loads files of a format, its packages imported. DeviceError where none is installed."""
    return _BY_FORMAT[format]()


def _generating_tflite() -> LoadGenerating:
    return litert.generating if _tflite() is litert.load else tflite.generating


def _generating_onnx() -> LoadGenerating:
    _onnx()
    return onnx.generating


_GENERATING: Dict[str, Callable[[], LoadGenerating]] = {"tflite": _generating_tflite, "onnx": _generating_onnx}


def generating(format: str) -> LoadGenerating:
    """What loads files of a format to generate with. DeviceError where its runtime cannot, or is not installed."""
    if format not in _GENERATING:
        raise DeviceError("the runtime of this format does not generate", given=format, allowed=sorted(_GENERATING))
    return _GENERATING[format]()
