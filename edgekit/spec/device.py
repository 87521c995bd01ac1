"""The device: one live board, with a name, an SSH address, a pinned host key and a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

from edgekit.errors import SpecError

SCHEMA = 1
Clock = Literal["wall", "counted"]


@dataclass(frozen=True)
class Emulated:
    """The QEMU process behind an emulated device. ``folder`` holds its overlay, console log and monitor socket.

    ``clock`` is ``counted`` when the guest's clock counts instructions (QEMU's ``-icount``), else ``wall``.
    """

    folder: str
    pid: int
    clock: Clock = "wall"


@dataclass(frozen=True)
class Device:
    """``host_key`` is the line ``type base64`` that the server must show; ``key_file`` the client's private key."""

    name: str
    target: str
    host: str
    port: int = 22
    user: str = "pi"
    host_key: Optional[str] = None
    key_file: Optional[str] = None
    emulated: Optional[Emulated] = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown device schema", where="$.schema", given=self.schema, allowed=SCHEMA)
        if not 1 <= self.port <= 65535:
            raise SpecError("no such port", where="$.port", given=self.port, allowed="1 to 65535")

    @property
    def address(self) -> str:
        return "{}@{}:{}".format(self.user, self.host, self.port)
