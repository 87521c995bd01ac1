"""Three locks in the root folder, all let go by the kernel when their process ends, however it ends.

``session.lock``: every agent holds it shared. Who gets it exclusively is alone, and may clear half-made things.
``deploy.lock``: held from ``activate`` to ``confirm`` or ``rollback``. While another holds it, a pending release is a
deploy under way and not one that was cut off.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Optional, Tuple

from edgekit.errors import DeviceError


def _open(root: Path, name: str) -> int:
    return os.open(root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def join_session(root: Path) -> Tuple[int, bool]:
    """Take the session lock shared; answers its descriptor, and whether nobody else was in."""
    handle = _open(root, "session.lock")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle, True
    except BlockingIOError:
        fcntl.flock(handle, fcntl.LOCK_SH)
        return handle, False


def share_session(handle: int) -> None:
    """Let others in again, after clearing."""
    fcntl.flock(handle, fcntl.LOCK_SH)


def try_deploy(root: Path) -> Optional[int]:
    """Take the deploy lock; ``None`` where another process has it."""
    handle = _open(root, "deploy.lock")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def take_deploy(root: Path) -> int:
    """Take the deploy lock. Raises DeviceError where another process has it."""
    handle = try_deploy(root)
    if handle is None:
        raise DeviceError(
            "another deploy is under way on this device", where=str(root), remedy="wait for it to end, then try again"
        )
    return handle


def take_service(root: Path) -> int:
    """Take the service's lock. Raises DeviceError where another process has it."""
    handle = _open(root, "service.lock")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise DeviceError(
            "a service runs here already", where=str(root), remedy="ask that one, or end it first"
        ) from None
    return handle


def release(handle: int) -> None:
    os.close(handle)
