"""One release in a child process, ready to answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, TypeVar

from edgekit.agent import follow, generate, measure, record, store, tasks
from edgekit.agent.spawn import Child, ChildFailed
from edgekit.errors import DeviceError, EdgekitError
from edgekit.spec import codec, wire
from edgekit.spec.manifest import GoldenCase, Manifest
from edgekit.spec.service import Following
from edgekit.spec.setting import Setting
from edgekit.spec.wire import Generate

T = TypeVar("T")
#: A child that says nothing for this long hangs.
ANSWER_S = 60.0
LOAD_S = 600.0
WARM_UP = "warm up"


@dataclass(frozen=True)
class Wanted:
    """A release, and how it is to run."""

    release: str
    setting: Setting = field(default_factory=Setting)


def wanted(root: Path) -> Optional[Wanted]:
    """The release that is to answer: the current one, or while that is not confirmed yet, the one it replaces."""
    now = record.current(root)
    if now is not None and record.state_of(root, now) != "confirmed":
        now = record.previous(root)
    if now is None:
        return None
    try:
        return Wanted(now, record.read(root, now).setting)
    except DeviceError:
        return Wanted(now)  # loading it says what is wrong with it


def mark(root: Path) -> Optional[Tuple[str, int, int]]:
    """Another one whenever :func:`wanted` may answer otherwise, for a small part of what reading that takes; ``None``
    where it must be read."""
    now = record.current(root)
    try:
        written = (record.folder(root, now) / "state.json").stat() if now else None
    except (OSError, EdgekitError):
        return None
    return (now, written.st_ino, written.st_mtime_ns) if now and written else None


class Spare:
    """A child that has imported a release's runtime and waits for a model: importing is what takes longest. Raises as
    :class:`Loaded`."""

    def __init__(self, root: Path, wanted: Wanted) -> None:
        self.folder = store.runtime_folder(root, record.read(root, wanted.release).runtime)
        self.setting = wanted.setting
        self.child = Child(self.folder, wanted.setting)
        try:
            form = record.manifest(root, wanted.release).optimized.format
            self.child.ask("warm", tasks.Warm(form), wire.Nothing, timeout=LOAD_S)
        except BaseException:
            self.child.end()
            raise

    def end(self) -> None:
        self.child.end()


class Loaded:
    """Loads at once, in ``spare`` where that fits, and has answered one text before it counts as loaded. Raises
    DeviceError where the release is not whole, ChildFailed where its runtime dies."""

    def __init__(self, root: Path, wanted: Wanted, spare: Optional[Spare] = None) -> None:
        manifest = record.manifest(root, wanted.release)
        self.wanted = wanted
        self.release = wanted.release
        self.described = manifest.optimized
        self.artifact = manifest.optimized.name
        self._labels = manifest.labels
        self._model = measure.model(root, manifest.optimized, wanted.setting.threads)
        folder = store.runtime_folder(root, record.read(root, wanted.release).runtime)
        fits = spare is not None and (spare.folder, spare.setting) == (folder, wanted.setting) and spare.child.alive
        self._child = spare.child if spare is not None and fits else Child(folder, wanted.setting)
        try:
            self._warm_up(root, manifest)
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

    def follow(self, asked: Following, timeout: float = ANSWER_S) -> Dict[str, Any]:
        """What a stream is about after its next text. Raises DeviceError as :class:`edgekit.agent.follow.Follower`."""
        follow.check(self.described)
        task = tasks.Follow(self._model, asked.stream, asked.text, self._labels, asked.top, asked.after, asked.end)
        found: Dict[str, Any] = self._call("follow", task, dict, timeout)
        return found

    def begin(self, asked: Generate, timeout: float = ANSWER_S) -> tasks.Piece:
        """The first piece of a text. Raises DeviceError where the release was not made to generate."""
        generate.check(self.described)
        return self._call("begin", tasks.Write(self._model, asked), tasks.Piece, timeout)

    def go_on(self, end: bool = False) -> tasks.Piece:
        """What the next token brings of the text that was begun last; with ``end``, its end."""
        return self._call("go on", tasks.GoOn(end), tasks.Piece, ANSWER_S)

    def _warm_up(self, root: Path, manifest: Manifest) -> None:
        """What it is there for: one that generates is not loaded a second time only to score."""
        if not manifest.optimized.generates:
            self._ask((WARM_UP,), 1, LOAD_S)
        if manifest.optimized.context is None:
            return
        with open(store.need(root, manifest.golden, "the golden cases"), encoding="utf-8") as lines:
            case = codec.loads(GoldenCase, lines.readline(), where="golden cases")
        if manifest.optimized.follows:
            self.follow(Following(WARM_UP, case.text, 1, end=True), LOAD_S)
        else:
            self.begin(Generate(case.text, max_tokens=1, window=True), LOAD_S)

    def _ask(self, texts: Sequence[str], top: int, timeout: float) -> List[Dict[str, Any]]:
        task = tasks.Ask(self._model, tuple(texts), self._labels, top)
        # plain values: they were spec values in the child, and go on as JSON
        found: List[Dict[str, Any]] = self._call("ask", task, dict, timeout)["predictions"]
        return found

    def _call(self, op: str, task: Any, answer: Type[T], timeout: float) -> T:
        if not self.alive:
            raise ChildFailed("it is gone")
        return self._child.ask(op, task, answer, timeout=timeout)

    def end(self) -> None:
        self._child.end()
