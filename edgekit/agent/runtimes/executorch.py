"""ExecuTorch files (``.pte``) by the C++ libraries of its wheel, without torch: one method for every length."""

from __future__ import annotations

import importlib.util
import os
from typing import List, Optional, Sequence

from edgekit.agent.runtimes import language
from edgekit.agent.runtimes.executorch_library import Library, Method

_METHOD = "forward"
#: The libraries can be loaded once into a process.
_LOADED: List[Library] = []


def available() -> bool:
    """Load the package's libraries; False where it is not installed. Broken ones raise what loading them raises."""
    folder = _folder()
    if folder is None:
        return False
    if not _LOADED:
        _LOADED.append(Library(folder))
    return True


def load(path: str, threads: int) -> Program:
    """Load a file. Raises DeviceError where it is damaged, or asks for operators that this runtime lacks."""
    available()
    _LOADED[0].threads(threads)
    return Program(_LOADED[0].method(path, _METHOD))


class Program(language.Said):
    def __init__(self, method: Method) -> None:
        import numpy

        self._numpy = numpy
        self._method = method

    def run(self, length: int, ids: List[int], mask: List[int]) -> Sequence[float]:
        shape, values = self._method((ids, mask))
        self._logits = self._numpy.frombuffer(values, self._numpy.float32).reshape(shape)[0]
        return language.answer(self._logits, mask)


def _folder() -> Optional[str]:
    """Where the libraries are. The package itself is not imported: it would take the exporter along."""
    found = importlib.util.find_spec("executorch")
    places = list(found.submodule_search_locations or []) if found else []
    return next((one for one in (os.path.join(place, "lib") for place in places) if os.path.isdir(one)), None)
