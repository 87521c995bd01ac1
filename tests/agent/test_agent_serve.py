"""Real agent processes: the protocol, and what becomes of a deploy when the host or the agent goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_releases import send_release
from running_agents import PACKAGE, Running, pythons

from edgekit.agent import log, record, release, serve
from edgekit.spec import codec, wire
from edgekit.spec.progress import Report


def args(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = codec.encode(value)
    return plain


def confirmed(root: Path, model: bytes) -> str:
    request = send_release(root, model=model)
    release.stage(root, request)
    release.activate(root, request.release)
    release.confirm(root, request.release)
    return request.release


@pytest.mark.parametrize("python", pythons(), ids=lambda one: Path(one).name)
def test_a_session(root: Path, python: str) -> None:
    request = send_release(root)
    with Running(root, python) as agent:
        hello = agent.hello()
        assert (hello["protocol"], hello["root"], hello["recovered"]) == (1, str(root), "")
        assert agent.done("facts")["cores"] >= 1
        assert agent.done("missing", blobs=[args(request.manifest)])["blobs"] == []
        assert agent.done("stage", **args(request)) == {}
        assert agent.done("activate", release=request.release) == {}
        assert agent.done("confirm", release=request.release) == {}
        assert agent.done("status")["current"] == request.release
        assert agent.done("prune", keep=1)["releases"][0]["state"] == "confirmed"
        events = [json.loads(line)["event"] for line in agent.done("logs", lines=50)["lines"]]
        assert events == ["staged", "release", "current", "release", "pruned"]
        assert agent.hang_up() == 0
    assert record.current(root) == request.release


def test_what_is_wrong_is_a_reply(root: Path) -> None:
    with Running(root) as agent:
        assert "must be 'hello'" in agent.call("status")["error"]["message"]
        refused = agent.call("hello", protocol=2, host_time=0.0)["error"]
        assert (refused["error"], refused["given"], refused["allowed"]) == ("ProtocolError", "2", "1")
        agent.hello()
        unknown = agent.call("statsu")["error"]
        assert unknown["error"] == "ProtocolError"
        assert unknown["mend"].startswith("did you mean 'status'")
        assert agent.call("prune", keep="many")["error"]["where"] == "$.args.keep"
        assert agent.call("logs", line=3)["error"]["error"] == "SpecError"
        assert agent.call("predict", texts=["x"], top=1)["error"]["mend"] == "deploy one: edgekit deploy"
        agent.write("this is no JSON")
        assert agent.read()["error"]["error"] == "ProtocolError"
        agent.write("")
        assert agent.done("status")["releases"] == []


def test_prints_never_reach_the_protocol(root: Path, tmp_path: Path) -> None:
    """A module of the agent's that prints, below Python too, does not corrupt a reply."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, platform\n"
        "machine = platform.machine\n"
        "platform.machine = lambda: (print('stray', flush=True), os.system('echo stray'), machine())[2]\n"
    )
    with Running(root, environment={"PYTHONPATH": f"{tmp_path}:{PACKAGE}"}) as agent:
        agent.hello()
        assert agent.done("facts")["cores"] >= 1
        assert agent.process.stdin is not None
        _, said = agent.process.communicate(timeout=60)
        assert said.count(b"stray") == 2


def test_a_bug_is_a_reply_and_its_traceback_goes_to_the_log(root: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import platform\nplatform.machine = lambda: 1 // 0\n")
    with Running(root, environment={"PYTHONPATH": f"{tmp_path}:{PACKAGE}"}) as agent:
        agent.hello()
        error = agent.call("facts")["error"]
        assert (error["error"], error["exit_code"]) == ("ZeroDivisionError", 1)
        assert "Traceback" not in json.dumps(error)
        assert "Traceback" in agent.done("logs", lines=1)["lines"][0]


def test_a_wrong_hash_is_named(root: Path) -> None:
    name = "a" * 64
    (root / "incoming" / (name + ".part")).write_bytes(b"something else")
    with Running(root) as agent:
        agent.hello()
        error = agent.call("commit", blobs=[{"sha256": name, "size": 14}])["error"]
    assert (error["error"], error["where"]) == ("BundleError", name)


@pytest.mark.parametrize("way", ["hang_up", "kill"])
def test_a_deploy_that_is_cut_off_goes_back(root: Path, way: str) -> None:
    old = confirmed(root, b"old")
    request = send_release(root, model=b"new")
    with Running(root) as agent:
        agent.hello()
        agent.done("stage", **args(request))
        agent.done("activate", release=request.release)
        assert record.current(root) == request.release
        getattr(agent, way)()
    # who is hung up on goes back at once; what was killed is put right by the next
    assert record.current(root) == (old if way == "hang_up" else request.release)
    with Running(root) as agent:
        recovered = agent.hello()["recovered"]
        assert (old[:12] in recovered) == (way == "kill")
        assert agent.done("status")["current"] == old
        assert record.read(root, request.release).state == "failed"


def test_a_second_session_leaves_a_live_deploy_alone(root: Path) -> None:
    old = confirmed(root, b"old")
    request = send_release(root, model=b"new")
    with Running(root) as one, Running(root) as two:
        one.hello()
        one.done("stage", **args(request))
        one.done("activate", release=request.release)
        assert two.hello()["recovered"] == ""
        assert two.done("status")["current"] == request.release
        for op, parts in (("rollback", {}), ("prune", {"keep": 3}), ("activate", {"release": old})):
            assert "another deploy is under way" in two.call(op, **parts)["error"]["message"]
        one.done("confirm", release=request.release)
        assert two.done("rollback")["current"] == old
        assert one.done("status")["current"] == old


def test_a_second_session_leaves_what_the_first_is_making(root: Path) -> None:
    with Running(root) as one:
        one.hello()
        half = root / "runtimes" / ".tmp-half"
        half.mkdir()
        with Running(root) as two:
            two.hello()
        assert half.exists()
        one.hang_up()
        with Running(root) as three:
            three.hello()
        assert not half.exists()


def test_a_full_disk_is_said_so() -> None:
    """/dev/full answers every write with the real error of the real system."""

    def write(args: wire.Nothing, report: Report) -> None:
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")

    told: list[str | None] = []
    line = b'{"id":7,"op":"write"}'
    operations = {"write": serve.Operation(wire.Nothing, write)}
    reply = serve.answer(line, 1, operations, lambda op, error, trace: told.append(trace))
    assert reply.error is not None
    assert (reply.error["error"], reply.error["message"]) == ("DeviceError", "the device's disk is full")
    assert "Traceback" in (told[0] or "")


def test_the_log_is_bounded(root: Path) -> None:
    (root / log.NAME).write_text("x\n" * log.LIMIT)
    log.write(root, "one")
    log.write(root, "two")
    assert [json.loads(line)["event"] for line in log.tail(root, 2)] == ["one", "two"]
    assert (root / log.NAME).stat().st_size < 1000
    assert sorted(one.name for one in root.glob("log.*")) == ["log.jsonl", "log.jsonl.1"]
