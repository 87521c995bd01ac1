"""The protocol's host end: against scripts that answer as an agent might, over a real subprocess."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgekit import errors
from edgekit.deliver import agent_file
from edgekit.deliver.client import Agent
from edgekit.deliver.local import LocalTransport
from edgekit.errors import BundleError, DeviceError, MissingExtra, PreflightError, ProtocolError, TransportError
from edgekit.spec import wire

HEAD = """\
import json, sys
def read(): return json.loads(sys.stdin.readline())
def write(**reply): print(json.dumps(reply), flush=True)
"""
HELLO = HEAD + (
    "hello = read()\n"
    "write(id=hello['id'], kind='done', result={'protocol': hello['args']['protocol'], 'agent': 'x', 'root': '/r'})\n"
)
STATUS = "request = read()\n"


def agent_of(folder: Path, script: str, python: str = sys.executable) -> Agent:
    """An agent whose file is ``script``."""
    file = folder / "agent-script.pyz"
    file.write_text(script)
    return Agent(LocalTransport(folder / "device", python), file)


def test_an_answer_is_decoded_and_progress_relayed(tmp_path: Path) -> None:
    script = (
        HELLO
        + STATUS
        + (
            "write(id=request['id'], kind='progress', message='half', fraction=0.5)\n"
            "write(id=request['id'], kind='progress', message='more')\n"
            "write(id=request['id'], kind='done', result={'releases': request['args']['blobs']})\n"
        )
    )
    heard: list[tuple[str, float | None]] = []
    with agent_of(tmp_path, script) as agent:
        assert agent.hello.root == "/r"
        answer = agent.call("status", wire.BlobList(()), wire.Status, lambda *said: heard.append(said))
    assert answer == wire.Status(())
    assert heard == [("half", 0.5), ("more", None)]


def test_the_agent_is_shipped_once_and_under_its_own_name(tmp_path: Path) -> None:
    agent_of(tmp_path, HELLO).close()
    shipped = tmp_path / "device" / ".local/share/edgekit/agents/agent-script.pyz"
    before = shipped.stat().st_ino
    agent_of(tmp_path, HELLO).close()
    assert shipped.stat().st_ino == before
    assert [one.name for one in shipped.parent.iterdir()] == [shipped.name]
    # half of it is not it, nor is what a power cut leaves: the right size, other bytes
    for damaged in (HELLO[:10], "\0" * len(HELLO)):
        shipped.write_text(damaged)
        agent_of(tmp_path, HELLO).close()
        assert shipped.read_text() == HELLO


def test_an_agent_that_did_not_arrive_whole_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(self: LocalTransport, local: Path, remote: str, offset: int = 0, report: object = None) -> None:
        Path(remote).write_bytes(b"\0" * local.stat().st_size)

    monkeypatch.setattr(LocalTransport, "put", put)
    with pytest.raises(TransportError, match="did not arrive whole"):
        agent_of(tmp_path, HELLO)
    assert not (tmp_path / "device" / ".local/share/edgekit/agents/agent-script.pyz").exists()


def test_a_failure_there_is_the_same_error_here(tmp_path: Path) -> None:
    script = (
        HELLO
        + STATUS
        + (
            "write(id=request['id'], kind='failed', error={'error': 'BundleError', 'message': 'a blob is damaged',"
            " 'where': 'abc', 'given': '1', 'allowed': '2', 'mend': 'send it again', 'exit_code': 3})\n"
        )
    )
    with agent_of(tmp_path, script) as agent, pytest.raises(BundleError) as caught:
        agent.call("commit", None, wire.Nothing)
    assert caught.value.to_json() == {
        "error": "BundleError",
        "message": "a blob is damaged",
        "exit_code": 3,
        "where": "this machine: abc",
        "given": "1",
        "allowed": "2",
        "mend": "send it again",
    }


@pytest.mark.parametrize(
    "kind", [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.EdgekitError)]
)
def test_every_error_class_survives_the_wire(kind: type[errors.EdgekitError]) -> None:
    found = errors.from_json({"error": kind.__name__, "message": "m"}, "board")
    assert type(found) is kind
    assert (found.message, found.where) == ("m", "board")


@pytest.mark.parametrize("name", ["KeyError", "nearest", "Optional", None])
def test_an_unknown_error_is_a_device_error(name: str | None) -> None:
    assert type(errors.from_json({"error": name, "message": "m"}, "board")) is DeviceError
    assert MissingExtra.exit_code == 2


def test_a_death_in_mid_call_tells_status_and_last_words(tmp_path: Path) -> None:
    script = HELLO + STATUS + "sys.stderr.write('Killed by a bus error\\n'); sys.exit(9)\n"
    with agent_of(tmp_path, script) as agent, pytest.raises(TransportError) as caught:
        agent.call("status", None, wire.Status)
    assert "'status' with status 9" in caught.value.message
    assert "bus error" in str(caught.value.given)


def test_silence_is_bounded(tmp_path: Path) -> None:
    script = HELLO + STATUS + "read()\n"
    with agent_of(tmp_path, script) as agent, pytest.raises(TransportError, match="no sign of life during 'status'"):
        agent.call("status", None, wire.Status, timeout=0.1)


@pytest.mark.parametrize(
    ("script", "word"),
    [
        (HEAD + "read()\nprint('Welcome to the board!', flush=True)\nread()\n", "something else"),
        (HELLO.replace("hello['args']['protocol']", "99"), "another protocol"),
        (HEAD + "read()\nwrite(id=77, kind='done', result={})\nread()\n", "another question"),
        (HEAD + "hello = read()\nwrite(id=hello['id'], kind='done', result={'x': 1})\nread()\n", "does not fit"),
    ],
)
def test_another_protocol_is_refused(tmp_path: Path, script: str, word: str) -> None:
    with pytest.raises(ProtocolError, match=word):
        agent_of(tmp_path, script)


def test_what_a_login_script_printed_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError) as caught:
        agent_of(tmp_path, HEAD + "read()\nprint('Welcome to the board!', flush=True)\nread()\n")
    assert caught.value.given == "Welcome to the board!"


def interpreter(folder: Path, text: str) -> str:
    """A program that stands where python3 should."""
    file = folder / "python3"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_no_python_is_a_preflight_error_with_what_the_board_is(tmp_path: Path) -> None:
    python = interpreter(tmp_path, "echo 'sh: python3: not found' >&2; exit 127")
    with pytest.raises(PreflightError, match="cannot start") as caught:
        agent_of(tmp_path, HELLO, python)
    assert "not found" in str(caught.value.given)
    assert sys.platform == "linux"
    assert any(machine in str(caught.value.given) for machine in ("x86_64", "aarch64", "arm"))
    assert caught.value.exit_code == 5


def test_an_old_python_is_a_preflight_error(tmp_path: Path) -> None:
    python = interpreter(tmp_path, f"echo 'python 3.7.3' >&2; exit {agent_file.TOO_OLD}")
    with pytest.raises(PreflightError, match="too old") as caught:
        agent_of(tmp_path, HELLO, python)
    assert (caught.value.given, caught.value.allowed) == ("python 3.7.3", "python 3.9 or newer")
