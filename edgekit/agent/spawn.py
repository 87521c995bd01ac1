"""Child processes that load a runtime: a crash there is an answer here, in words."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Type, TypeVar

from edgekit.agent.serve import HungUp, Lines, send
from edgekit.errors import DeviceError
from edgekit.spec import codec, wire
from edgekit.spec.progress import Report, quiet
from edgekit.spec.setting import Setting

T = TypeVar("T")
#: Where this code is imported from: a folder, or a zipapp, which is a path entry too.
CODE = Path(__file__).parents[2]
_ANY = Setting()


class ChildFailed(DeviceError):
    """The child died, or answered that it could not. ``message`` says how, in one line."""


class Child:
    """One process that has a runtime's folder on its path. ``host`` is where the agent's own requests come from: when
    it ends, the child is killed."""

    def __init__(self, runtime: Optional[Path], setting: Setting = _ANY, host: Optional[Lines] = None) -> None:
        self._host = host
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-m", "edgekit.agent.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(runtime, setting.threads),
            # '-m' looks into the working directory first: never the user's
            cwd=CODE if CODE.is_dir() else "/",
            start_new_session=True,
        )
        if setting.cores:
            _pin(self._process.pid, setting.cores)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in = self._process.stdin.fileno()
        self._lines = Lines(self._process.stdout.fileno())

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, op: str, task: Any, answer: Type[T], report: Report = quiet, timeout: Optional[float] = None) -> T:
        """Send one task and wait. Raises ChildFailed when it dies, fails or takes more than ``timeout`` seconds, and
        HungUp when the host goes meanwhile; the child is gone then."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with contextlib.suppress(BrokenPipeError):
            send(self._in, wire.Request(1, op, codec.encode(task)))
        while True:
            line = self._lines.pop()
            if line is None:
                if self._lines.closed:
                    raise ChildFailed(self._death())
                self._wait(deadline, timeout)
                continue
            reply = codec.loads(wire.Reply, line)
            if reply.kind == "progress":
                report(reply.message, reply.fraction)
            elif reply.kind == "failed":
                error = reply.error or {}
                raise ChildFailed(_failure(error), remedy=error.get("mend"), where=error.get("where"))
            else:
                return codec.decode(answer, reply.result or {})

    def _wait(self, deadline: Optional[float], timeout: Optional[float]) -> None:
        """Until the child or the host says something."""
        watched: List[Lines] = [self._lines]
        if self._host is not None:
            watched.append(self._host)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = select.select(watched, [], [], left)[0]
        if not ready:
            self.end()
            raise ChildFailed("no answer within {:g} s: killed".format(timeout or 0))
        for one in ready:
            one.fill()
        if self._host is not None and self._host.closed:
            self.end()
            raise HungUp

    def _death(self) -> str:
        """Why the process is gone: its signal by name, or its exit code and last words."""
        code = self._process.wait()
        self._errors.seek(max(0, os.fstat(self._errors.fileno()).st_size - 4096))
        words = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        self.end()
        if code < 0:
            name = signal.Signals(-code).name
            return name + " (out of memory?)" if name == "SIGKILL" else name
        return "exit code {}{}".format(code, ": " + words[-1] if words else "")

    def end(self) -> None:
        """Kill it and all it started, if it still lives."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _pin(pid: int, cores: Sequence[int]) -> None:
    """Let a process use these cores alone; before it has threads, which inherit it. Cores that are not there, or that
    this process was not given itself, are passed over."""
    there = set(cores) & os.sched_getaffinity(0)
    if there:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(pid, there)


def _environment(runtime: Optional[Path], threads: int) -> Dict[str, str]:
    """The agent's own code first (a zipapp is a path entry too), then the runtime; no user site, no idle threads."""
    places = [str(CODE)] + ([str(runtime)] if runtime else [])
    if not runtime and os.environ.get("PYTHONPATH"):
        places.append(os.environ["PYTHONPATH"])
    changed = {
        "PYTHONPATH": os.pathsep.join(places),
        "PYTHONNOUSERSITE": "1",
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if runtime is not None and (runtime / wire.LIBRARIES).is_dir():
        before = os.environ.get("LD_LIBRARY_PATH")
        changed["LD_LIBRARY_PATH"] = os.pathsep.join([str(runtime / wire.LIBRARIES)] + ([before] if before else []))
    return {**os.environ, **changed}


def _failure(error: Dict[str, Any]) -> str:
    """``ImportError: No module named x``; of an error raised on purpose its parts too."""
    text = "{}: {}".format(error.get("error", "error"), error.get("message", ""))
    said = ["{} {}".format(name, error[name]) for name in ("given", "allowed") if name in error]
    return "{} ({})".format(text, ", ".join(said)) if said else text
