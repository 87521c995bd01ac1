"""The agent's one file: the same bytes always, light, and at home in old Pythons."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgekit.deliver import agent_file
from edgekit.deliver.client import Agent
from edgekit.deliver.local import LocalTransport
from edgekit.spec import wire
from edgekit.spec.target import Facts

needs_agent = pytest.mark.skipif(
    importlib.util.find_spec("edgekit.agent.__main__") is None, reason="the agent is not part of this tree"
)


def python_of(version: str) -> str | None:
    """A Python of this version: on PATH, or pyenv's."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    # pyenv's shims are on PATH too, but start only the version that is chosen
    return str(pyenv[-1]) if pyenv else shutil.which(f"python{version}")


OLDEST = python_of("3.9") or sys.executable
TOO_OLD = [one for one in map(python_of, ("3.6", "3.7", "3.8")) if one]


def test_the_bytes_are_the_same_and_the_name_is_their_hash(tmp_path: Path) -> None:
    one, two = agent_file.build(tmp_path / "a"), agent_file.build(tmp_path / "b")
    assert one.read_bytes() == two.read_bytes()
    assert one.name == f"agent-{hashlib.sha256(one.read_bytes()).hexdigest()[:12]}.pyz"
    assert one.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert [file.name for file in one.parent.iterdir()] == [one.name]


def test_a_damaged_one_is_written_anew(tmp_path: Path) -> None:
    file = agent_file.build(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert agent_file.build(tmp_path).read_bytes() == whole


def test_only_errors_spec_and_agent_travel(tmp_path: Path) -> None:
    with zipfile.ZipFile(agent_file.build(tmp_path)) as archive:
        names = archive.namelist()
        init = archive.read("edgekit/__init__.py").decode()
    assert names == sorted(names)
    assert "edgekit/spec/wire.py" in names
    kinds = {name.split("/")[1] for name in names if name.startswith("edgekit/")}
    assert kinds <= {"__init__.py", "errors.py", "spec", "agent"}
    assert "import" not in init


@pytest.mark.skipif(not TOO_OLD, reason="no Python older than 3.9 is at hand")
def test_an_old_python_gets_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [TOO_OLD[0], str(agent_file.build(tmp_path))],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == agent_file.TOO_OLD
    assert done.stderr.startswith("python 3.")


@needs_agent
def test_it_answers_under_the_oldest_python(tmp_path: Path) -> None:
    with (
        LocalTransport(tmp_path / "home", OLDEST) as transport,
        Agent(transport, agent_file.build(tmp_path), root=str(tmp_path / "root")) as agent,
    ):
        assert agent.hello.root == str(tmp_path / "root")
        facts = agent.call("facts", None, Facts)
        assert facts.cores >= 1
        assert facts.disk_free > 0
        assert agent.call("status", None, wire.Status).releases == ()


@needs_agent
def test_it_unpacks_itself_once_so_that_bytecode_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    file = agent_file.build(tmp_path / "cache")
    for _ in range(2):
        with LocalTransport(tmp_path) as transport, Agent(transport, file, root=str(tmp_path / "root")) as agent:
            assert agent.hello.agent == file.name
        names = sorted(one.name for one in (tmp_path / "root" / "agents").iterdir())
        assert names == [file.name, file.name + ".d"]
    assert list((tmp_path / "root" / "agents" / names[1]).rglob("*.pyc"))


@needs_agent
def test_where_it_cannot_unpack_it_runs_from_the_file(tmp_path: Path) -> None:
    file = agent_file.build(tmp_path / "cache")
    (tmp_path / "root" / "agents").mkdir(parents=True)
    (tmp_path / "root" / "agents" / (file.name + ".d")).write_text("in the way")
    with LocalTransport(tmp_path) as transport, Agent(transport, file, root=str(tmp_path / "root")) as agent:
        assert agent.call("status", None, wire.Status).releases == ()
