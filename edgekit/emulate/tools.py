"""The host's programs that emulation needs: are they there, and running them so that nothing outlives a failure."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Iterable, Sequence

from edgekit.errors import BuildError, UsageError
from edgekit.spec.progress import Report, quiet

#: Which Debian or Ubuntu package brings a program.
PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "debugfs": "e2fsprogs",
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-aarch64": "qemu-user",
    "qemu-arm": "qemu-user",
    "ssh-keygen": "openssh-client",
}
# mke2fs lives where an ordinary user's PATH does not look
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def require(programs: Iterable[str]) -> None:
    """Raises UsageError naming every missing program and the one apt line that brings them all."""
    missing = sorted(one for one in programs if shutil.which(one, path=SEARCH) is None)
    if missing:
        packages = sorted({PACKAGES[one] for one in missing})
        raise UsageError(
            "emulating a board needs programs that are not installed",
            given=", ".join(missing),
            remedy="sudo apt-get install --no-install-recommends " + " ".join(packages),
        )


def run(
    command: Sequence[str],
    *,
    env: dict[str, str] | None = None,
    keep_open: Sequence[int] = (),
    report: Report = quiet,
) -> None:
    """Run to the end, each line of output to ``report``; BuildError with the last lines where it fails.

    The command gets a process group of its own, which is killed as a whole when we are interrupted. File descriptors
    in ``keep_open`` are inherited: a lock held through one is held until the command, even orphaned, has ended.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PATH": SEARCH, "LC_ALL": "C.UTF-8", **(env or {})},
        pass_fds=tuple(keep_open),
        start_new_session=True,
    )
    tail: deque[str] = deque(maxlen=20)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.rstrip())
            report(line.rstrip(), None)
        code = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if code:
        raise BuildError(f"{command[0]} ended with code {code}", given="its last words:\n" + "\n".join(tail))
