"""A device of the wrong architecture: this very machine, registered as a Raspberry Pi."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from bundle_kit import small_manifest

from edgekit import load
from edgekit.deliver import agent_file, preflight
from edgekit.deliver.client import Agent
from edgekit.deliver.local import LocalTransport
from edgekit.errors import PreflightError
from edgekit.spec.target import Facts


def test_it_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    manifest, _ = small_manifest(tmp_path)
    with (
        LocalTransport(tmp_path / "device") as transport,
        Agent(transport, agent_file.build(tmp_path), root=str(tmp_path / "device")) as agent,
    ):
        facts = agent.call("facts", None, Facts)
    if facts.arch == "arm64":
        pytest.skip("this machine could pass for the board")
    with pytest.raises(PreflightError) as caught:
        preflight.check(facts, load.target("rpi4"), manifest, need=0, host_time=time.time(), where="roof-1")
    assert f"its userland is {facts.arch}, target rpi4 is arm64" in str(caught.value)
    assert caught.value.exit_code == 5
