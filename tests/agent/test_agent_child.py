"""Runtimes that die: each is a real process that really dies, and the agent says how."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_releases import send_release
from running_agents import Running

from edgekit.agent import log, measure, record, release, spawn, store, tasks
from edgekit.agent.spawn import Child, ChildFailed
from edgekit.spec import codec, wire
from edgekit.spec.result import Job
from edgekit.spec.setting import Setting

DEATHS = [
    ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    ("os.kill(os.getpid(), signal.SIGILL)", "SIGILL"),
    ("os.abort()", "SIGABRT"),
    ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL (out of memory?)"),
    ("sys.stderr.write('loading\\nno luck\\n'); sys.stderr.flush(); os._exit(3)", "exit code 3: no luck"),
    ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    ("raise MemoryError('64 MB')", "MemoryError: 64 MB"),
]


def lay_runtime(root: Path, name: str, body: str) -> Path:
    """A runtime whose import runs ``body``; it stands before any other on the path."""
    folder = root / "runtimes" / name
    for package in ("ai_edge_litert", "tokenizers"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("__version__ = '0'\n")
    (folder / "ai_edge_litert/interpreter.py").write_text(f"import os, signal, sys, time\n{body}\n")
    (folder / store.RUNTIME_FILE).write_text(codec.dumps(store.Runtime((), 0)))
    return folder


@pytest.mark.parametrize(("body", "said"), DEATHS, ids=[said.split()[0] for _, said in DEATHS])
def test_a_death_is_told_by_name(root: Path, body: str, said: str) -> None:
    folder = lay_runtime(root, "broken", body)
    with Child(folder) as child, pytest.raises(ChildFailed) as caught:
        child.ask("warm", tasks.Warm("tflite"), wire.Nothing)
    assert caught.value.message == said


def test_a_child_that_hangs_is_killed(root: Path) -> None:
    folder = lay_runtime(root, "hanging", "time.sleep(3600)")
    with Child(folder) as child:
        with pytest.raises(ChildFailed, match=r"no answer within 0\.5 s"):
            child.ask("warm", tasks.Warm("tflite"), wire.Nothing, timeout=0.5)
        assert not child.alive


def test_what_a_runtime_prints_does_not_disturb(root: Path) -> None:
    folder = lay_runtime(root, "chatty", "print('INFO', flush=True); os.system('echo hello')\nclass Interpreter: pass")
    heard: list[str] = []
    with Child(folder) as child:
        child.ask("warm", tasks.Warm("tflite"), wire.Nothing, lambda message, _: heard.append(message))
        child.ask("warm", tasks.Warm("tflite"), wire.Nothing)
    assert heard == ["tokenizers 0"]


def test_a_child_uses_the_cores_and_threads_it_was_given(root: Path) -> None:
    body = "raise MemoryError(f\"{os.sched_getaffinity(0)} {os.environ['OMP_NUM_THREADS']}\")"
    one = min(os.sched_getaffinity(0))
    folder = lay_runtime(root, "telling", body)
    with Child(folder, Setting(3, (one, 4095))) as child, pytest.raises(ChildFailed) as caught:
        child.ask("warm", tasks.Warm("tflite"), wire.Nothing)
    assert caught.value.message == f"MemoryError: {{{one}}} 3"


def test_the_runtime_comes_before_the_interpreters_own(root: Path) -> None:
    """The environment's packages must not shine through; without a runtime they are what is used."""
    folder = lay_runtime(root, "other", "")
    with Child(folder) as child, pytest.raises(ChildFailed, match="no runtime for tflite files"):
        child.ask("warm", tasks.Warm("tflite"), wire.Nothing)


def test_a_release_whose_runtime_crashes_is_not_healthy(root: Path) -> None:
    lay_runtime(root, "broken", "os.kill(os.getpid(), signal.SIGSEGV)")
    request = send_release(root, runtime="broken")
    with Running(root) as agent:
        agent.hello()
        agent.done("stage", **codec.encode(request))
        agent.done("activate", release=request.release)
        health = agent.done("health", release=request.release)
        assert (health["ok"], health["failure"]) == (False, "the runtime died: SIGSEGV")
        assert agent.call("predict", texts=["a"], top=1)["error"]["message"] == "SIGSEGV"
        assert "current" not in agent.done("rollback")
    assert record.read(root, request.release).state == "failed"


def test_a_run_that_crashes_is_a_result(root: Path) -> None:
    lay_runtime(root, "broken", "os.kill(os.getpid(), signal.SIGILL)")
    request = send_release(root, runtime="broken")
    release.stage(root, request)
    manifest = record.manifest(root, request.release)
    job = Job("optimized", manifest.optimized.name, samples=1)
    asked = wire.Measure(job, manifest.optimized, manifest.samples, "broken", 2)
    with Running(root) as agent:
        agent.hello()
        run = agent.done("measure", **codec.encode(asked))
    assert run["failure"] == "SIGILL"
    assert "measured" not in run


def test_a_measurement_that_cannot_be_met_is_refused(root: Path) -> None:
    request = send_release(root)
    release.stage(root, request)
    manifest = record.manifest(root, request.release)
    many = wire.Measure(Job("s", "a", samples=64), manifest.optimized, manifest.samples, "", 2)
    with pytest.raises(measure.DeviceError, match="too few samples"):
        measure.run(root, many, None)
    long = wire.Measure(Job("s", "a", pad_to=512, samples=1), manifest.optimized, manifest.samples, "", 2)
    with pytest.raises(measure.DeviceError, match="no such length"):
        measure.run(root, long, None)


def test_when_the_host_goes_the_child_is_killed(root: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    lay_runtime(root, "hanging", f"open({str(mark)!r}, 'w').write(str(os.getpid()))\ntime.sleep(3600)")
    request = send_release(root, runtime="hanging")
    release.stage(root, request)
    with Running(root) as agent:
        agent.hello()
        agent.send("health", release=request.release)
        while not mark.exists() or not mark.read_text():
            time.sleep(0.02)
        assert agent.hang_up() == 0
    assert not Path(f"/proc/{mark.read_text()}").exists()
    assert json.loads(log.tail(root, 1)[0])["event"] == "hung up"


def test_the_loader_finds_shared_libraries_that_a_runtime_brings(tmp_path: Path) -> None:
    real = next(Path("/usr/lib").glob("*-linux-gnu/libz.so.1"), None)
    if real is None:
        pytest.skip("no libz here to lend")
    libraries = tmp_path / "runtime" / wire.LIBRARIES
    libraries.mkdir(parents=True)
    shutil.copy(real, libraries / "libodd.so.9")
    command = [sys.executable, "-c", "import ctypes; ctypes.CDLL('libodd.so.9')"]
    for runtime, status in ((tmp_path / "runtime", 0), (tmp_path, 1)):
        done = subprocess.run(command, env=spawn._environment(runtime, 1), capture_output=True, check=False)
        assert done.returncode == status, done.stderr
