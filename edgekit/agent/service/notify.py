"""A word to systemd, where it started us (sd_notify(3)): a datagram to the socket that it names."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Optional


def tell(state: str) -> None:
    """``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``. Nothing happens where nobody listens."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name:
        return
    address = "\0" + name[1:] if name.startswith("@") else name
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode("ascii"), address)


def interval() -> Optional[float]:
    """Seconds between two signs of life: half of what systemd waits for one; ``None`` where it does not."""
    given = os.environ.get("WATCHDOG_USEC", "")
    return int(given) / 2e6 if given.isdigit() and int(given) > 0 else None
