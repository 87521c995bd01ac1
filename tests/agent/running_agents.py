"""A real agent process, asked as a host asks it, under every Python at hand that a board may have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[2]


def pythons() -> list[str]:
    """This interpreter, and a 3.9 where one is installed: the oldest the agent promises to run on."""
    found = [sys.executable]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    old = shutil.which("python3.9") or next((str(one) for one in versions.glob("3.9.*/bin/python3.9")), None)
    if old and subprocess.run([old, "-c", ""], capture_output=True).returncode == 0:
        found.append(old)
    return found


class Running:
    """An agent with its stdin and stdout open."""

    def __init__(
        self,
        root: Path,
        python: str = sys.executable,
        environment: dict[str, str] | None = None,
        program: Sequence[str] = ("-m", "edgekit.agent"),
    ) -> None:
        self.process = subprocess.Popen(
            [python, *program, "--root", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(PACKAGE), **(environment or {})},
        )
        self._last = 0

    def send(self, op: str, **args: Any) -> None:
        self._last += 1
        self.write(json.dumps({"id": self._last, "op": op, "args": args}))

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        reply: dict[str, Any] = json.loads(self.process.stdout.readline())
        return reply

    def call(self, op: str, **args: Any) -> dict[str, Any]:
        """The final reply; progress is passed over."""
        self.send(op, **args)
        reply = self.read()
        while reply["kind"] == "progress":
            reply = self.read()
        assert reply["id"] == self._last
        return reply

    def done(self, op: str, **args: Any) -> dict[str, Any]:
        reply = self.call(op, **args)
        assert reply["kind"] == "done", reply
        result: dict[str, Any] = reply["result"]
        return result

    def hello(self) -> dict[str, Any]:
        return self.done("hello", protocol=1, host_time=0.0)

    def hang_up(self) -> int:
        """Close its stdin, as a lost connection does; its exit code."""
        self.process.communicate(timeout=60)
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.kill()
