"""Questions that wait for the runtime. No more are taken than fit: who comes then is told to come back."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Deque, List, Optional, Sequence, Tuple

from edgekit.errors import DeviceError, EdgekitError


class Busy(DeviceError):
    """Not now, but in a second: nothing is wrong with the question."""


class Job:
    """A question on its way. Either ``answers`` or ``failure`` is set when ``done`` is: a JSON document a text, all of
    them from ``release``."""

    def __init__(self, texts: Sequence[str], top: int) -> None:
        self.texts = tuple(texts)
        self.top = top
        self.done = threading.Event()
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


class Desk:
    """First come, first served. ``room`` counts texts."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.waiting = 0
        #: Why nothing is taken at the moment; empty where it is.
        self.closed = ""
        self._jobs: Deque[Job] = deque()
        self._changed = threading.Condition()

    def put(self, job: Job) -> None:
        """Raises Busy where there is no room, or nobody to answer."""
        with self._changed:
            if self.closed:
                raise Busy(self.closed, remedy="try again in a second")
            if self.waiting + len(job.texts) > self.room:
                raise Busy(
                    "too many texts wait already",
                    given=len(job.texts),
                    allowed="{} at this moment".format(self.room - self.waiting),
                    remedy="try again in a second",
                )
            self._jobs.append(job)
            self.waiting += len(job.texts)
            self._changed.notify()

    def take(self, most: int, wait: float) -> List[Job]:
        """The questions that have waited longest, of ``most`` texts together (or one longer question alone); none where
        none came within ``wait`` seconds."""
        deadline = time.monotonic() + wait
        with self._changed:
            while not self._jobs:
                left = deadline - time.monotonic()
                if left <= 0:
                    return []
                self._changed.wait(left)
            taken = [self._jobs.popleft()]
            count = len(taken[0].texts)
            while self._jobs and count + len(self._jobs[0].texts) <= most:
                taken.append(self._jobs.popleft())
                count += len(taken[-1].texts)
            self.waiting -= count
            return taken

    def open(self) -> None:
        with self._changed:
            self.closed = ""

    def close(self, why: str) -> None:
        """Take no more, and fail those that wait."""
        with self._changed:
            self.closed = why
            left, self.waiting = list(self._jobs), 0
            self._jobs.clear()
        for job in left:
            job.fail(Busy(why, remedy="try again in a second"))
