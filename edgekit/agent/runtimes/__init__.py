"""Runtimes: one file each, with ``load(path, threads) -> Runner``. Their packages are imported in ``load``."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Protocol, Sequence

from edgekit.agent.runtimes import litert, tflite, torchscript
from edgekit.errors import DeviceError
from edgekit.spec.task import NextTokens


class Runner(Protocol):
    def run(self, length: int, ids: List[int], mask: List[int]) -> Sequence[float]:
        """Logits of one text, or of a language model those of the token after it. ``ids`` and ``mask`` are ``length``
        long; ``mask`` is 1 for a token, 0 for padding."""

    def told(self, ids: Sequence[int]) -> Optional[NextTokens]:
        """Of the text that was run last, whose tokens are ``ids``: how well each was told by those before it. ``None``
        where the model is a classifier."""


#: Import the runtime of a format; answers what loads a file with it.
Load = Callable[[str, int], Runner]


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


_BY_FORMAT: Dict[str, Callable[[], Load]] = {"tflite": _tflite, "ptl": _ptl}


def loader(format: str) -> Load:
    """What loads files of a format, its packages imported. DeviceError where none is installed."""
    return _BY_FORMAT[format]()
