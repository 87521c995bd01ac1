"""Work done by a thread while its results are used, a few items ahead."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Callable, Iterator, Optional, Sequence, Tuple, TypeVar

A = TypeVar("A")
B = TypeVar("B")
#: How many results may wait to be used: the producer rests then.
ROOM = 8


def ahead(work: Callable[[A], B], items: Sequence[A], room: int = ROOM) -> Iterator[B]:
    """``map(work, items)``, by a thread that is at most ``room`` items ahead. An error in ``work`` is raised in its
    item's place. It gains where ``work`` lets go of the interpreter's lock and a core is idle."""
    ready: "queue.Queue[Tuple[Optional[B], Optional[Exception]]]" = queue.Queue(room)
    stopped = threading.Event()

    def run() -> None:
        for item in items:
            try:
                made: Tuple[Optional[B], Optional[Exception]] = (work(item), None)
            except Exception as error:  # noqa: BLE001 - it is raised where the result is used
                made = (None, error)
            if stopped.is_set():
                return
            ready.put(made)

    thread = threading.Thread(target=run, name="edgekit-ahead", daemon=True)
    thread.start()
    try:
        for _ in items:
            value, error = ready.get()
            if error is not None:
                raise error
            yield value  # type: ignore[misc]
    finally:
        stopped.set()
        # a producer that waits for room puts one more at most, and ends
        with contextlib.suppress(queue.Empty):
            while True:
                ready.get_nowait()
        thread.join()
