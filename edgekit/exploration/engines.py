"""Where candidates are trained: in this process, or on a Ray cluster. The same work, the same answers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from edgekit.errors import MissingExtra, UsageError

_THREADS = "OMP_NUM_THREADS"
W = TypeVar("W")
A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)


class Engine(Protocol[W, A_co]):
    """Takes work and gives answers, each with its work, in whatever order they are done. ``slots`` is how many it
    works on at once."""

    slots: int

    def submit(self, work: W) -> None: ...

    def collect(self) -> tuple[W, A_co]:
        """Wait for one answer. Raises what the work raised."""
        ...

    def close(self) -> None: ...


class Local(Generic[W, A]):
    """This process, one candidate at a time."""

    slots = 1

    def __init__(self, run: Callable[[W], A]) -> None:
        self._run = run
        self._waiting: deque[W] = deque()

    def submit(self, work: W) -> None:
        self._waiting.append(work)

    def collect(self) -> tuple[W, A]:
        work = self._waiting.popleft()
        return work, self._run(work)

    def close(self) -> None:
        self._waiting.clear()


class Ray(Generic[W, A]):
    """A Ray cluster: the one ``$RAY_ADDRESS`` names or this machine belongs to, else one of this machine alone.

    The cluster's machines share edgekit's home and the recipe's files under the same paths (a network file system),
    and have the same edgekit installed. Raises MissingExtra without Ray, UsageError where the cluster has no CPU.
    """

    def __init__(self, run: Callable[[W], A], workers: int = 1) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtra("ray", "ray") from error
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
        found = self._ray.cluster_resources().get("CPU", 0)
        if found < workers:
            self.close()
            raise UsageError("the Ray cluster has fewer CPUs than workers", given=workers, allowed=f"1 to {found:g}")
        # sums of floats depend on the count of threads: one worker computes as this process would
        self._remote = ray.remote(num_cpus=1)(_threaded_as_here(run) if workers == 1 else run)
        self._running: dict[Any, W] = {}
        self.slots = workers

    def submit(self, work: W) -> None:
        self._running[self._remote.remote(work)] = work

    def collect(self) -> tuple[W, A]:
        (done,), _ = self._ray.wait(list(self._running), num_returns=1)
        work = self._running.pop(done)
        try:
            answer: A = self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            # the very error that the work raised, as it was there
            raise error.cause if isinstance(error.cause, Exception) else error from error
        return work, answer

    def close(self) -> None:
        if self._ours:
            self._ray.shutdown()


def _threaded_as_here(run: Callable[[W], A]) -> Callable[[W], A]:
    """``run`` with this process's count of OpenMP threads, instead of Ray's one a CPU. torch reads it when it is
    imported, which is later."""
    threads = os.environ.get(_THREADS)

    def task(work: W) -> A:
        if threads is None:
            os.environ.pop(_THREADS, None)
        else:
            os.environ[_THREADS] = threads
        return run(work)

    return task
