"""Exit codes, errors, common flags: what every verb has in common."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit import errors
from edgekit.cli.main import main
from edgekit.spec.wire import LogLines, Status

TOP = ["build", "deploy", "bench", "predict", "status", "rollback", "prune-releases", "logs", "device", "report"]
TOP += ["targets", "recipes", "bundle", "demo", "completion", "serve", "tune"]
VERBS = [
    [],
    *([one] for one in TOP),
    *(["device", one] for one in ("add", "list", "probe", "up", "down", "ssh")),
    *(["bundle", one] for one in ("inspect", "trust", "verify")),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*verb, "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(" ".join(["usage: edgekit", *verb]))
    assert verb in ([], ["device"], ["bundle"]) or "--json" in out


def test_help_is_light() -> None:
    """All helps together import nothing heavy, and neither yaml, rich nor paramiko."""
    code = f"""
import contextlib, io, sys
from edgekit.cli.main import main
for verb in {VERBS!r}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([*verb, "--help"])
heavy = "torch transformers numpy paramiko rich yaml jsonschema msgspec dataclasses asyncio".split()
print([one for one in heavy if one in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("edgekit 0.")


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        ([], ["required: VERB"]),
        (["deplyo"], ["given:   deplyo", "did you mean 'deploy'"]),
        (["device", "lst"], ["given:   lst", "'list'"]),
        (["status", "--jsn"], ["edgekit status: no such flag", "--jsn", "did you mean '--json'"]),
        (["status", "--targ=rpi4"], ["given:   --targ", "'--target'"]),
        (["status", "extra"], ["too many arguments", "extra"]),
        (["build"], ["required: RECIPE"]),
        (["logs", "-n", "0"], ["'0' is not a whole number"]),
        (["device", "up", "rpi4", "--clock", "fast"], ["given:   fast", "wall, counted"]),
        (["device", "add", "a", "b"], ["--target"]),
        (["device", "down", "a", "--all"], ["not both"]),
    ],
    ids=" ".join,
)
def test_usage_errors(cli: Any, argv: list[str], parts: list[str]) -> None:
    ran = cli(*argv)
    assert ran.code == 2
    assert ran.out == ""
    for part in parts:
        assert part in ran.err
    if argv:
        ran = cli(*argv, "--json")
        assert ran.code == 2
        assert ran.json["error"] == "UsageError"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("several devices", allowed=["a", "b"]), 2),
        (errors.MissingExtra("torch", "host"), 2),
        (errors.SpecError("bad", where="r.yaml:1 $.x"), 3),
        (errors.BundleError("flipped bit"), 3),
        (errors.GateMissed("no candidate"), 4),
        (errors.PreflightError("disk full"), 5),
        (errors.TransportError("cut"), 6),
        (errors.HostKeyError("other key"), 6),
        (errors.RolledBack("went back"), 7),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
)
def test_exit_codes(cli: Any, answers: Any, error: errors.EdgekitError, code: int) -> None:
    answers("status", error)
    ran = cli("status")
    assert (ran.code, ran.out) == (code, "")
    assert str(error) in ran.err
    ran = cli("status", "--json")
    assert ran.code == code
    assert ran.json == error.to_json()


def test_interrupted(cli: Any, answers: Any) -> None:
    answers("status", KeyboardInterrupt())
    ran = cli("status")
    assert (ran.code, ran.out, ran.err) == (130, "", "interrupted\n")
    ran = cli("status", "--json")
    assert ran.code == 130
    assert ran.json == {"error": "Interrupted", "message": "interrupted", "exit_code": 130}


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "/home/x/edgekit"),
        OSError(errno.EROFS, "Read-only file system", "/mnt/out"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=str,
)
def test_a_file_the_host_refuses_is_no_bug(cli: Any, answers: Any, error: OSError) -> None:
    answers("status", error)
    ran = cli("status", "--json")
    assert (ran.code, ran.json["error"]) == (2, "UsageError")
    assert error.strerror in ran.json["message"]
    assert ran.json.get("where") == error.filename
    assert "bug" not in ran.err


def test_a_home_that_cannot_be_made_is_named(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = cli("device", "list", "--home", str(tmp_path / "file"))
    assert ran.code == 2
    assert str(tmp_path / "file") in ran.err


def test_details_of_an_error_are_data(cli: Any, answers: Any) -> None:
    answers("build", errors.GateMissed("none", details={"candidates": [{"name": "int8", "drop": 2.0}]}))
    ran = cli("build", "minilm", "--json")
    assert ran.json["details"] == {"candidates": [{"name": "int8", "drop": 2.0}]}
    assert "candidates" not in ran.err


def test_a_bug_is_one_line_and_a_traceback_only_when_asked_for(
    cli: Any, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEKIT_DEBUG", raising=False)
    answers("status", ZeroDivisionError("oh"))
    ran = cli("status", "--json")
    assert ran.code == 1
    assert "this is a bug in edgekit: ZeroDivisionError: oh" in ran.err
    assert "Traceback" not in ran.err
    assert ran.json["exit_code"] == 1
    assert "Traceback" in cli("status", "--verbose").err
    monkeypatch.setenv("EDGEKIT_DEBUG", "1")
    assert "Traceback" in cli("status").err


def test_common_flags_before_and_after_the_verb(cli: Any, answers: Any, tmp_path: Path) -> None:
    calls = answers("status", Status(()))
    assert cli("--json", "--home", str(tmp_path), "status").json == {"releases": [], "store_bytes": 0, "disk_free": 0}
    assert cli("status", "--json", "--home", str(tmp_path)).json["releases"] == []
    assert [one.kwargs["home"].root for one in calls] == [tmp_path.resolve()] * 2
    cli("status")
    assert calls[-1].kwargs["home"] is None


def test_progress_goes_to_stderr_only(cli: Any, answers: Any) -> None:
    def working(*, report: Any, **rest: Any) -> LogLines:
        report("reaching the board", None)
        for n in range(101):
            report("sending", n / 100)
        return LogLines(("[a] line with [brackets]",))

    answers("logs", working)
    ran = cli("logs")
    assert ran.out == "[a] line with [brackets]\n"
    assert ran.err.splitlines() == ["reaching the board", "sending 0%", "sending 100%"]
    assert len(cli("logs", "--verbose").err.splitlines()) == 102
    quiet = cli("logs", "-q", "--json")
    assert quiet.err == ""
    assert quiet.json == {"lines": ["[a] line with [brackets]"]}


@pytest.mark.parametrize(
    ("argv", "code"),
    [(["targets", "rpi4"], 0), (["recipes", "--schema", "--json"], 0), (["targets", "no", "--json", "-q"], 3)],
)
def test_a_reader_that_left_is_no_error(argv: list[str], code: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    script = f"from edgekit.cli.main import main; raise SystemExit(main({argv!r}))"
    ran = subprocess.run([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert ran.returncode == code
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(cli: Any, shell: str) -> None:
    ran = cli("completion", shell)
    assert ran.code == 0
    for word in ("prune-releases", "dry-run", "device"):
        assert word in ran.out
    document = cli("completion", shell, "--json").json
    assert document["shell"] == shell


def test_bash_accepts_its_completion(cli: Any) -> None:
    ran = subprocess.run(
        ["bash", "-n"], input=cli("completion", "bash").out, text=True, capture_output=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_broken_pipe_to_a_device_is_not_a_reader_that_left(cli: Any, answers: Any) -> None:
    answers("status", BrokenPipeError("the socket"))
    assert cli("status").code == 1
