"""Which release answers: the one that ``wanted`` names. Another one, or the same one anew after its runtime died, is
loaded beside the one that answers and takes its place between two batches: nothing that waits is lost."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from edgekit.agent import log
from edgekit.agent.service.answers import Answers
from edgekit.agent.service.desk import LATER, Busy, Desk, Draft, Job
from edgekit.agent.service.loaded import Loaded, Spare, Wanted, mark, wanted
from edgekit.agent.service.pen import Pen
from edgekit.agent.spawn import ChildFailed
from edgekit.errors import DeviceError, EdgekitError
from edgekit.spec.service import Options

#: How often ``current`` is looked at, and how long a batch waits for company.
LOOK_S = 0.2
#: A release that does not load is tried again after this long, twice as long each time.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
ENDING = "the service ends"


class Keeper:
    """Two threads: one hands batches to the runtime, one watches over which runtime that is. Loads the first release at
    once. Raises DeviceError where there is none, or it does not load."""

    def __init__(self, root: Path, options: Options) -> None:
        self.root = root
        self.options = options
        self.desk = Desk(options.queue, options.prompts)
        self.cache = Answers(options.cache)
        self.pen = Pen(options.writing)
        self.restarts = 0
        self.reloads = 0
        #: Why the wanted release does not answer; empty where it does.
        self.failure = ""
        #: When the batching thread was last seen alive, on the monotonic clock.
        self.beat = time.monotonic()
        first = wanted(root)
        if first is None:
            raise DeviceError(
                "no release is current on this device", where=str(root), remedy="deploy one: edgekit deploy"
            )
        self._now = Loaded(root, first)
        self._next: Optional[Loaded] = None
        self._spare: Optional[Spare] = None
        self._lacks_spare = bool(options.spare)
        self._stopping = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=work, name="edgekit-" + name, daemon=True)
            for name, work in (("batches", self._work), ("watch", self._watch))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def loaded(self) -> Loaded:
        return self._now

    def known(self, job: Job) -> bool:
        """Answer from the cache, where all texts are in it."""
        with self._changed:
            # under the lock, so that no other release takes over between looking and naming it
            now, found = self._now, self.cache.all([(text, job.top) for text in job.texts])
        if found is not None:
            job.answer(now.release, now.artifact, found)
        return found is not None

    def end(self) -> None:
        """Fail what waits, end the threads and the runtime."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.desk.close(ENDING)
        for thread in self._threads:
            thread.join()
        for one in (self._now, self._next, self._spare):
            if one is not None:
                one.end()

    def _work(self) -> None:
        while True:
            self.beat = time.monotonic()
            if not self._take_over():
                return
            jobs, draft = self.desk.take(self.options.batch, LOOK_S)
            if not jobs and draft is None:
                continue
            if not self._take_over():
                self._fail(jobs, draft)
            elif draft is None:
                self._answer(jobs)
            elif not draft.given_up:
                self._write(draft)

    def _fail(self, jobs: List[Job], draft: Optional[Draft]) -> None:
        for job in jobs:
            job.fail(Busy(ENDING))
        if draft is not None:
            draft.fail(Busy(ENDING))

    def _take_over(self) -> bool:
        """Let the next release answer from now on; wait for one where the runtime is dead. False at the end."""
        with self._changed:
            while not self._stopping:
                self.beat = time.monotonic()
                if self._next is not None:
                    old, self._now, self._next = self._now, self._next, None
                    self.cache.clear()
                    self.failure = ""
                    self.desk.open()
                    old.end()
                if self._now.alive:
                    return True
                self._changed.notify_all()
                self._changed.wait(LOOK_S)
            return False

    def _answer(self, jobs: List[Job]) -> None:
        """A runtime that dies costs all that were on their way; one that refuses a text only that question."""
        try:
            self._cross(jobs)
        except Exception as error:  # noqa: BLE001 - it costs these questions, not the service
            reason = self._reason(error)
            if isinstance(reason, ChildFailed) and len(jobs) > 1:
                for job in jobs:
                    self._answer([job])
            else:
                for job in jobs:
                    job.fail(reason)

    def _write(self, draft: Draft) -> None:
        """One text, by the release that begins it; others wait meanwhile."""
        try:
            self.pen.write(draft, self._now, self._go_on)
        except Exception as error:  # noqa: BLE001 - it costs this text, not the service
            draft.fail(self._reason(error))
        else:
            if draft.written is None:
                draft.fail(Busy(ENDING))

    def _go_on(self) -> bool:
        self.beat = time.monotonic()
        return not self._stopping

    def _reason(self, error: Exception) -> EdgekitError:
        """What those hear who waited; a runtime that died is replaced."""
        if isinstance(error, ChildFailed) and not self._now.alive:
            log.write(self.root, "runtime died", release=self._now.release, message=error.message)
            with self._changed:
                self._changed.notify_all()
            return Busy("the runtime died: " + error.message, remedy=LATER)
        if isinstance(error, EdgekitError):
            return error
        log.write(self.root, "failed", op="answer", trace="".join(traceback.format_exception(None, error, None)))
        return EdgekitError("this is a bug in edgekit", remedy="see 'edgekit logs'")

    def _cross(self, jobs: List[Job]) -> None:
        """Each text that the cache lacks crosses once, however often it is asked."""
        now = self._now
        if jobs[0].following is not None:  # it is alone
            if jobs[0].given_up:
                raise Busy("it waited too long")
            jobs[0].answer(now.release, now.artifact, [_document(now.follow(jobs[0].following))])
            return
        found: Dict[Tuple[str, int], Optional[bytes]] = {}
        for job in jobs:
            for text in job.texts:
                key = (text, job.top)
                if key not in found:
                    found[key] = self.cache.get(key)
        lacking = [key for key, answer in found.items() if answer is None]
        # a long question crosses in parts: each has its time, and a slow board is not taken for one that hangs
        for start in range(0, len(lacking), self.options.batch):
            if not self._go_on():
                raise Busy(ENDING)
            part = lacking[start : start + self.options.batch]
            answers = now.answers([text for text, _ in part], max(top for _, top in part))
            for key, answer in zip(part, answers):
                cut = dict(answer, scores=answer["scores"][: key[1]])
                found[key] = _document(cut)
                # it took no time when it is recalled
                self.cache.put(key, _document(dict(cut, ms=0.0)))
        for job in jobs:
            job.answer(now.release, now.artifact, [found[text, job.top] or b"" for text in job.texts])

    def _watch(self) -> None:
        pause, again = FIRST_PAUSE_S, 0.0
        tried: Optional[Wanted] = None
        target, seen = self._now.wanted, None
        while True:
            with self._changed:
                if not self._stopping:
                    self._changed.wait(LOOK_S)
                if self._stopping:
                    return
                now, ready = self._now, self._next
            try:
                found = mark(self.root)
                if found is None or found != seen:
                    target, seen = wanted(self.root) or now.wanted, found
            except OSError as error:
                self.failure = "the current release cannot be read: {}".format(error)
                continue
            dead = not now.alive
            if (ready or now).wanted == target and (ready is not None or not dead):
                self.failure = ""
                self._prepare(target)
            elif target != tried or time.monotonic() >= again:
                pause = 2 * pause if target == tried else FIRST_PAUSE_S
                tried = None if self._load(target, dead) else target
                again = time.monotonic() + min(pause, LONGEST_PAUSE_S)

    def _prepare(self, target: Wanted) -> None:
        """Have a spare, so that a runtime that dies is replaced at once."""
        if self._lacks_spare:
            # once: where it fails, the runtime itself will say why
            self._lacks_spare = False
            with contextlib.suppress(EdgekitError, OSError):
                self._spare = Spare(self.root, target)

    def _load(self, target: Wanted, dead: bool) -> bool:
        """Whether the release is ready to take over."""
        spare, self._spare = self._spare, None
        # it is used up, whatever comes of it
        self._lacks_spare = bool(self.options.spare)
        try:
            made = Loaded(self.root, target, spare)
        except (EdgekitError, OSError) as error:
            if spare is not None:
                spare.end()
            self.failure = "release {} does not load: {}".format(target.release[:12], error)
            log.write(self.root, "service cannot load", release=target.release, message=str(error))
            if dead:
                self.desk.close(self.failure)
            return False
        if spare is not None and spare.child.pid != made.pid:
            spare.end()
        with self._changed:
            before, self._next = self._next, made
            if dead:
                self.restarts += 1
            else:
                self.reloads += 1
            self._changed.notify_all()
        if before is not None:
            before.end()
        log.write(self.root, "service loaded", release=target.release, anew=dead)
        return True


def _document(prediction: Dict[str, Any]) -> bytes:
    return json.dumps(prediction, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
