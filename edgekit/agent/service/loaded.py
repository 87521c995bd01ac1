"""One release in a child process, ready to answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from edgekit.agent import measure, record, store, tasks
from edgekit.agent.spawn import Child, ChildFailed
from edgekit.errors import DeviceError
from edgekit.spec import wire

#: A child that says nothing for this long hangs.
ANSWER_S = 60.0
LOAD_S = 600.0
WARM_UP = "warm up"


def wanted(root: Path) -> Optional[str]:
    """The release that is to answer: the current one, or while that is not confirmed yet, the one it replaces."""
    now = record.current(root)
    if now is None or record.state_of(root, now) == "confirmed":
        return now
    return record.previous(root)


class Spare:
    """A child that has imported a release's runtime and waits for a model: importing is what takes longest. Raises as
    :class:`Loaded`."""

    def __init__(self, root: Path, release: str, threads: int) -> None:
        self.folder = store.runtime_folder(root, record.read(root, release).runtime)
        self.child = Child(self.folder, threads)
        try:
            form = record.manifest(root, release).optimized.format
            self.child.ask("warm", tasks.Warm(form), wire.Nothing, timeout=LOAD_S)
        except BaseException:
            self.child.end()
            raise

    def end(self) -> None:
        self.child.end()


class Loaded:
    """Loads at once, in ``spare`` where that fits, and has answered one text before it counts as loaded. Raises
    DeviceError where the release is not whole, ChildFailed where its runtime dies."""

    def __init__(self, root: Path, release: str, threads: int, spare: Optional[Spare] = None) -> None:
        manifest = record.manifest(root, release)
        self.release = release
        self.artifact = manifest.optimized.name
        self._labels = manifest.labels
        self._model = measure.model(root, manifest.optimized, threads)
        folder = store.runtime_folder(root, record.read(root, release).runtime)
        fits = spare is not None and spare.folder == folder and spare.child.alive
        self._child = spare.child if spare is not None and fits else Child(folder, threads)
        try:
            self._ask((WARM_UP,), 1, LOAD_S)
        except BaseException:
            self._child.end()
            raise

    @property
    def alive(self) -> bool:
        return self._child.alive

    @property
    def pid(self) -> int:
        return self._child.pid

    def answers(self, texts: Sequence[str], top: int) -> List[Dict[str, Any]]:
        """A prediction a text as plain JSON values, with ``top`` labels. All texts cross to the child in one line."""
        found = self._ask(texts, top, ANSWER_S)
        if len(found) != len(texts):
            raise DeviceError("the runtime gave another number of answers", given=len(found), allowed=len(texts))
        return found

    def _ask(self, texts: Sequence[str], top: int, timeout: float) -> List[Dict[str, Any]]:
        if not self.alive:
            raise ChildFailed("it is gone")
        task = tasks.Ask(self._model, tuple(texts), self._labels, top)
        # plain values: they were spec values in the child, and go on as JSON
        answer = self._child.ask("ask", task, dict, timeout=timeout)
        found: List[Dict[str, Any]] = answer["predictions"]
        return found

    def end(self) -> None:
        self._child.end()
