"""Questions that wait for the runtime. No more are taken than fit: who comes then is told to come back."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from typing import Callable, Deque, Generator, List, Optional, Sequence, Tuple, Union

from edgekit.errors import DeviceError, EdgekitError
from edgekit.spec.service import Following
from edgekit.spec.wire import Generate, Generated

#: How often a text's reader is looked after while nothing comes.
LOOK_S = 0.5
LATER = "try again in a second"


class Busy(DeviceError):
    """Not now, but in a second: nothing is wrong with the question."""


class Job:
    """A question on its way. Either ``answers`` or ``failure`` is set when ``done`` is: a JSON document a text, all of
    them from ``release``. One that goes on with a stream is ``following`` it."""

    def __init__(self, texts: Sequence[str], top: int, following: Optional[Following] = None) -> None:
        self.texts = tuple(texts)
        self.top = top
        self.following = following
        self.done = threading.Event()
        #: Nobody waits for it any more; who goes on with a stream may send the same text again.
        self.given_up = False
        self.release = ""
        self.artifact = ""
        self.answers: Tuple[bytes, ...] = ()
        self.failure: Optional[EdgekitError] = None

    def answer(self, release: str, artifact: str, answers: Sequence[bytes]) -> None:
        self.release, self.artifact, self.answers = release, artifact, tuple(answers)
        self.done.set()

    def fail(self, failure: EdgekitError) -> None:
        self.failure = failure
        self.done.set()


class Draft:
    """A text on its way, in pieces. At its end ``written`` or ``failure`` is set."""

    def __init__(self, asked: Generate) -> None:
        self.asked = asked
        #: Nobody waits for it any more.
        self.given_up = False
        self.written: Optional[Generated] = None
        self.failure: Optional[EdgekitError] = None
        # a reader who is slow holds nobody up: there are no more of them than tokens were asked for
        self._pieces: "queue.SimpleQueue[Optional[str]]" = queue.SimpleQueue()

    def add(self, piece: str) -> None:
        self._pieces.put(piece)

    def end(self, written: Generated) -> None:
        self.written = written
        self._pieces.put(None)

    def fail(self, failure: EdgekitError) -> None:
        self.failure = failure
        self._pieces.put(None)

    def pieces(self, patience: float, left: Callable[[], bool]) -> Generator[str, None, None]:
        """As they come; the first one within ``patience`` seconds. When this is closed, or its reader has ``left``, the
        draft is given up. Raises Busy where none came, ConnectionError where the reader has left, and ``failure``."""
        deadline: Optional[float] = time.monotonic() + patience
        try:
            while not left():
                try:
                    piece = self._pieces.get(timeout=LOOK_S)
                except queue.Empty:
                    if deadline is not None and time.monotonic() > deadline:
                        raise Busy("its turn did not come within {:g} s".format(patience), remedy=LATER) from None
                    continue
                deadline = None
                if piece is None:
                    break
                yield piece
            else:
                raise ConnectionAbortedError("the client left")
        finally:
            self.given_up = True
        if self.failure is not None:
            raise self.failure


class Desk:
    """First come, first served. ``room`` counts texts that wait for an answer, ``drafts`` those to be written."""

    def __init__(self, room: int, drafts: int) -> None:
        self.room = room
        self.drafts = drafts
        self.waiting = 0
        #: Why nothing is taken at the moment; empty where it is.
        self.closed = ""
        self._line: Deque[Union[Job, Draft]] = deque()
        self._changed = threading.Condition()

    def put(self, one: Union[Job, Draft]) -> None:
        """Raises Busy where there is no room, or nobody to answer."""
        with self._changed:
            if self.closed:
                raise Busy(self.closed, remedy=LATER)
            if isinstance(one, Draft):
                # those whose readers left take no room
                self._line = deque(other for other in self._line if not (isinstance(other, Draft) and other.given_up))
                self._admit(1, self.drafts - self.waiting_drafts, "prompts")
            else:
                self._admit(len(one.texts), self.room - self.waiting, "texts")
                self.waiting += len(one.texts)
            self._line.append(one)
            self._changed.notify()

    def _admit(self, count: int, room: int, of: str) -> None:
        if count > room:
            message = "too many {} wait already".format(of)
            raise Busy(message, given=count, allowed="{} at this moment".format(room), remedy=LATER)

    def take(self, most: int, wait: float) -> Tuple[List[Job], Optional[Draft]]:
        """What has waited longest: questions of ``most`` texts together (or one longer question, or one of a stream,
        alone), or one draft; neither where none came within ``wait`` seconds."""
        deadline = time.monotonic() + wait
        with self._changed:
            while not self._line:
                left = deadline - time.monotonic()
                if left <= 0:
                    return [], None
                self._changed.wait(left)
            first = self._line.popleft()
            if isinstance(first, Draft):
                return [], first
            taken, count = [first], len(first.texts)
            while self._line and first.following is None:
                following = self._line[0]
                if (
                    isinstance(following, Draft)
                    or following.following is not None
                    or count + len(following.texts) > most
                ):
                    break
                self._line.popleft()
                taken.append(following)
                count += len(following.texts)
            self.waiting -= count
            return taken, None

    @property
    def waiting_drafts(self) -> int:
        return sum(isinstance(one, Draft) for one in list(self._line))

    def open(self) -> None:
        with self._changed:
            self.closed = ""

    def close(self, why: str) -> None:
        """Take no more, and fail those that wait."""
        with self._changed:
            self.closed = why
            left, self.waiting = list(self._line), 0
            self._line.clear()
        for one in left:
            one.fail(Busy(why, remedy=LATER))
