"""A service on a board that has no systemd: started as ``deploy --service`` says there, and reached through SSH."""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path

import pytest

from edgekit import pipeline
from edgekit.client import Client
from edgekit.errors import DeviceError, TransportError
from edgekit.home import Home


class Service:
    """Runs from here to the end of the block; ``url`` leads to it from this host."""

    def __init__(self, home: Home, device: str, folder: Path) -> None:
        self._ssh = pipeline.device_ssh(device, home=home)
        with pytest.raises(DeviceError, match="there is no systemd on this device") as refused:
            pipeline.service(device=device, home=home)
        _, _, self.command = str(refused.value.remedy).partition(": ")
        words = shlex.split(self.command)
        root = words[words.index("--root") + 1]
        near = folder / "near.sock"
        forward = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{near}:{root}/service.sock"]
        self.url = f"unix:{near}"
        self._said = (folder / "said").open("wb")
        # a terminal, so that it ends with the connection
        self._parts = [
            subprocess.Popen([*argv], stdin=subprocess.DEVNULL, stdout=self._said, stderr=subprocess.STDOUT)
            for argv in (
                [self._ssh[0], "-tt", *self._ssh[1:], self.command],
                [self._ssh[0], *forward, *self._ssh[1:]],
            )
        ]

    def run(self, command: str) -> str:
        """On the board."""
        return subprocess.run([*self._ssh, command], check=True, capture_output=True, text=True).stdout

    def ready(self) -> None:
        deadline = time.monotonic() + 300
        while True:
            assert all(one.poll() is None for one in self._parts), Path(self._said.name).read_text()
            try:
                with Client(self.url) as client:
                    client.health()
                return
            except TransportError:
                assert time.monotonic() < deadline, "the service never answered"
                time.sleep(1.0)

    def __enter__(self) -> Service:
        try:
            self.ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._parts:
            one.terminate()
        for one in self._parts:
            one.wait(60)
        self._said.close()
