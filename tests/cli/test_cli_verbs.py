"""Each verb: what it asks of the pipeline, what it prints for people, what it prints as JSON."""

from __future__ import annotations

import dataclasses
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edgekit import load
from edgekit.benchmark.summary import lines
from edgekit.data.lengths import LengthStatistics
from edgekit.errors import HostKeyError, UsageError
from edgekit.outcome import (
    Analyzed,
    Benched,
    Built,
    Candidate,
    Demo,
    Deployed,
    Probe,
    ProbeRow,
    RangeRow,
    Reported,
    Searched,
    SearchPlan,
)
from edgekit.spec import codec
from edgekit.spec.device import Device, Emulated
from edgekit.spec.manifest import Artifact, Blob, Manifest, OpCount, Parity, Realised, Signature, Tensor
from edgekit.spec.result import Job, Measured, Result, Run, Solution
from edgekit.spec.target import Facts, Target
from edgekit.spec.trial import Cell, Option, Sensitivity, Trial
from edgekit.spec.wire import Health, Prediction, Predictions, ReleaseState, Score, Status

BLOB = Blob("ab" * 32, 12_300_000)
SIGNATURE = Signature(
    "len16",
    16,
    (Tensor("input_ids", (1, 16), "int32"), Tensor("attention_mask", (1, 16), "int32")),
    (Tensor("logits", (1, 2), "float32"),),
)


def artifact(name: str, role: Any) -> Artifact:
    return Artifact(
        name=name,
        role=role,
        format="tflite",
        scheme="w8_a8_static",
        blob=BLOB,
        tokenizer=BLOB,
        signatures=(SIGNATURE,),
        realised=Realised((OpCount("FULLY_CONNECTED", "int8", 36),), {"int8": 5}, ("SOFTMAX: islands stay float",)),
        parity=Parity(16, 0.9987, 1.0, 0.99, 0.95),
        accuracy=80.5,
        accuracy_samples=2000,
        parameters=11_000_000,
    )


MANIFEST = Manifest(
    name="minilm-int8",
    task="classify",
    recipe_digest="11" * 32,
    data_digest="22" * 32,
    seed=7,
    labels=("games", "mail"),
    artifacts=(artifact("student", "optimized"), artifact("teacher", "baseline")),
    golden=BLOB,
    samples=BLOB,
    versions={"torch": "2.13.0"},
    licences={"MiniLM": "Apache-2.0"},
    target="rpi4",
)
BUILT = Built(
    bundle=Path("/b/minilm"),
    digest="cd" * 32,
    manifest=MANIFEST,
    candidates=(
        Candidate(
            "tflite-w8_a8_static", "tflite", "w8_a8_static", 6_100_000, 80.5, 0.9, 7.25, 30_000_000, "pi", shipped=True
        ),
        Candidate(
            "tflite-w32", "tflite", "w32_a32_float", 24_000_000, 81.0, 0.4, verdicts=("size 24.00 MB, allowed 10 MB",)
        ),
        Candidate("ptl-w8", "ptl", "w8_a32_dynamic", failure="parity: cosine 0.67"),
    ),
    texts=LengthStatistics((16, 128), 90, {"16": 0.9, "128": 0.1}, 0.01, 0.02, 0.25, 0.9, 11.2, 140),
    reused=("samples", "teacher"),
)
DEPLOYED = Deployed(
    device="pi",
    bundle=Path("/b/minilm"),
    digest="cd" * 32,
    plan=("send 3 blobs", "switch"),
    health=Health(True, 16, 16),
    seconds=4.2,
)
STATUS = Status(
    releases=(ReleaseState("cd" * 32, "minilm-int8", "confirmed", True, 1_700_000_000.0, 6_100_000, "student"),),
    current="cd" * 32,
    store_bytes=100_000_000,
    disk_free=5_000_000_000,
)
PREDICTIONS = Predictions(
    "cd" * 32,
    "student",
    (Prediction("a chess [game]", 0, (Score("games", 0.91), Score("mail", 0.09)), 5, 16, False, 7.31, unsure=True),),
)
FACTS = Facts(
    arch="arm64",
    kernel_arch="aarch64",
    features=("fp", "asimd"),
    cores=4,
    cpu_part="0xd08",
    model="Raspberry Pi 4 Model B Rev 1.5",
    python="3.11.2",
    glibc="2.36",
    ram_total=2_000_000_000,
    ram_available=1_500_000_000,
    disk_total=30_000_000_000,
    disk_free=9_000_000_000,
    clock=1_700_000_000.0,
    root="/home/pi/.local/share/edgekit",
    sensors={"thermal_celsius": 48.5},
)
REAL = Device("pi", "rpi4", "192.0.2.7", host_key="ssh-ed25519 AAAA")
BOARD = Device("rpi4-1", "rpi4", "127.0.0.1", 40022, emulated=Emulated("/boards/1", 77, "counted"))
MEASURED = Measured(10, 5, 9, (7.1, 7.3, 7.2, 7.4), (6.1, 6.2, 6.0, 6.3), (0, 1, 0, 1), 10, 8, 50, 40)
RESULT = Result(
    bundle="cd" * 32,
    name="minilm-int8",
    target="rpi4",
    device="rpi4-1",
    emulated=True,
    clock="counted",
    created="2026-01-01T00:00:00Z",
    facts=FACTS,
    solutions=(
        Solution("optimized", "student", "tflite", "w8_a8_static", 6_100_000, 11_000_000, 80.5, 2000),
        Solution("baseline", "teacher", "tflite", "w32_a32_float", 90_000_000, 22_000_000, 81.4, 2000),
    ),
    runs=(Run(Job("optimized", "student"), MEASURED), Run(Job("baseline", "teacher"), MEASURED)),
    truth=(0, 1, 0, 1),
    host_labels=(0, 1, 0, 1),
)
BENCHED = Benched(RESULT, {"json": Path("/h/r.json")}, rows=lines(RESULT))

#: verb and flags, pipeline function, its answer, positional and keyword arguments it must get, what people must read
SEARCHED = Searched(
    Path("/b"),
    Path("/b/table.json"),
    (
        Trial(0, {"compress.1.prune.ffn": 64}, "trained", "", Option("tflite-a", 0.9, 1_000_000, 80.0, 1.0), {}),
        Trial(1, {"compress.1.prune.ffn": 128}, "skipped", "not trained: size 4.00 MB", Option("tflite-a", 2.0, 4)),
    ),
    front=(0,),
    winner=0,
    predicted_ms=0.9,
    measured_ms=0.88,
    error=0.0227,
    files={"html": Path("/b/search.html")},
)
SCAN = Sensitivity(
    "mine", 82.0, 500, 1.7, 1, (Cell("int8 static", 0, 12.5), Cell("half the heads", 0, None, "it has one head"))
)

VERBS: list[tuple[str, str, Any, tuple[Any, ...], dict[str, Any], list[str]]] = [
    (
        "build minilm --target rpi4 -o out --set gates.size_mb=10 --set seed=3",
        "build",
        BUILT,
        ("minilm",),
        {"target": "rpi4", "output": Path("out"), "overrides": ("gates.size_mb=10", "seed=3"), "device": None},
        [
            "ships",
            "size 24.00 MB, allowed 10 MB",
            "parity: cosine 0.67",
            "6.1 MB",
            "reused",
            "samples, teacher",
            "/b/minilm",
        ],
    ),
    (
        "deploy --target rpi4",
        "deploy",
        DEPLOYED,
        (None,),
        {"target": "rpi4", "device": None, "dry_run": False},
        ["bundle cdcdcdcdcdcd: /b/minilm", "device pi", "send 3 blobs", "16 of 16 golden cases"],
    ),
    (
        "deploy /b/minilm --device pi --dry-run",
        "deploy",
        dataclasses.replace(DEPLOYED, dry_run=True, health=None),
        ("/b/minilm",),
        {"device": "pi", "dry_run": True},
        ["would do:", "switch"],
    ),
    ("deploy", "deploy", dataclasses.replace(DEPLOYED, already=True), (None,), {}, ["already deployed"]),
    (
        "predict 'a chess game' --device pi --top 2",
        "predict",
        PREDICTIONS,
        (["a chess game"],),
        {"device": "pi", "top": 2},
        ["a chess [game]", "games 91.0%", "unsure", "7.31", "device's clock"],
    ),
    (
        "status --device pi",
        "status",
        STATUS,
        (),
        {"device": "pi"},
        ["confirmed", "2023-11-14 22:13:20Z", "free 5000.0 MB"],
    ),
    ("status", "status", Status(()), (), {"target": None}, ["no release is installed"]),
    ("rollback --device pi --to cdcd", "rollback", STATUS, (), {"to": "cdcd"}, ["confirmed"]),
    (
        "search mine --target rpi4 --trials 9 --engine ray --workers 2",
        "search",
        SEARCHED,
        ("mine",),
        {"target": "rpi4", "trials": 9, "engine": "ray", "workers": 2, "dry_run": False},
        ["0.900", "0: ffn 64: meets the gates", "1: ffn 128: not trained: size 4.00 MB", "+2.3% off", "/b/search.html"],
    ),
    (
        "search mine --dry-run",
        "search",
        SearchPlan("mine", 24, 12, (RangeRow("compress.1.prune.ffn", "64, 128"),), {"size_mb": 2.5}),
        ("mine",),
        {"dry_run": True},
        ["64, 128", "12 candidates, of which 24 would be drawn", "size_mb 2.5"],
    ),
    (
        "analyze mine --html a.html --set data.validation=9",
        "analyze",
        Analyzed(SCAN, Path("/b/a.html")),
        ("mine",),
        {"html": Path("a.html"), "overrides": ("data.validation=9",)},
        ["12.50", "1.7 points", "not tried: half the heads, layer 0: it has one head", "/b/a.html"],
    ),
    ("prune-releases --keep 1", "prune_releases", STATUS, (), {"keep": 1}, ["confirmed"]),
    (
        "device probe --device pi",
        "device_probe",
        Probe("pi", FACTS, "rpi4", "rpi4", (ProbeRow("python", "3.11", "3.9", False),)),
        (),
        {"device": "pi"},
        ["NO", "Raspberry Pi 4 Model B Rev 1.5", "thermal_celsius: 48.5", "fits the target rpi4"],
    ),
    (
        "device up rpi4 --name a --clock counted",
        "device_up",
        BOARD,
        ("rpi4",),
        {"name": "a", "clock": "counted"},
        ["rpi4-1 is up", "counted clock", "edgekit device down rpi4-1"],
    ),
    ("device down --all", "device_down", ("a", "b"), (None,), {"every": True}, ["stopped a, b"]),
    ("device down a", "device_down", (), ("a",), {"every": False}, ["nothing was running"]),
    (
        "bundle inspect /b/minilm",
        "bundle_inspect",
        MANIFEST,
        ("/b/minilm",),
        {},
        [
            "FULLY_CONNECTED",
            "SOFTMAX",
            "11,000,000",
            "0.9987",
            "torch 2.13.0",
            "Apache-2.0",
            codec.digest(MANIFEST)[:12],
        ],
    ),
    ("bundle verify /b/minilm", "bundle_verify", MANIFEST, ("/b/minilm",), {}, ["signed by a trusted key"]),
    (
        "bundle trust key.pub",
        "bundle_trust",
        "SHA256:abc",
        (Path("key.pub"),),
        {},
        ["SHA256:abc (key.pub) are trusted here"],
    ),
    ("bench --samples 80 --compare old", "bench", BENCHED, (None,), {"samples": 80, "compare": "old"}, ["/h/r.json"]),
    (
        "report a.json b.json --html p.html",
        "report",
        Reported(RESULT, Path("p.html"), RESULT),
        (("a.json", "b.json"),),
        {"html": Path("p.html")},
        ["html: p.html"],
    ),
    (
        "demo",
        "demo",
        Demo(BUILT, DEPLOYED, BENCHED, PREDICTIONS),
        (),
        {},
        ["ships", "device pi", "games 91.0%", "/h/r.json"],
    ),
]


@pytest.mark.parametrize(("line", "name", "value", "args", "kwargs", "read"), VERBS, ids=[one[0] for one in VERBS])
def test_verb(
    cli: Any,
    answers: Any,
    line: str,
    name: str,
    value: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    read: list[str],
) -> None:
    calls = answers(name, value)
    ran = cli(*shlex.split(line))
    assert (ran.code, ran.err) == (0, "")
    (call,) = calls
    assert call.args == args
    assert {key: call.kwargs.get(key, "missing") for key in kwargs} == kwargs
    assert {"home", "report"} <= set(call.kwargs)
    for part in read:
        assert part in ran.out
    plain = {"key": "key.pub", "fingerprint": value} if name == "bundle_trust" else _plain(value)
    assert cli(*shlex.split(line), "--json").json == plain


def test_the_figures_of_a_benchmark_are_data(cli: Any, answers: Any) -> None:
    answers("bench", BENCHED)
    ours, base = cli("bench", "--json").json["rows"]
    assert (ours["solution"], ours["median_ms"], ours["texts"]) == ("optimized", 7.25, 4)
    assert (ours["size"], ours["accuracy_delta"]) == (6_100_000, pytest.approx(-0.9))
    assert "improvement" not in base


def test_a_target_of_ones_own_lies_in_the_home(cli: Any, tmp_path: Path) -> None:
    text = load.files.find("targets", "rpi4").read_text().replace("name: rpi4", "name: mine", 1)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "mine.yaml").write_text(text)
    home = ("--home", str(tmp_path), "--json")
    assert cli("targets", "mine", *home).json["name"] == "mine"
    assert "mine" in [one["name"] for one in cli("targets", *home).json]
    assert cli("targets", "mine", "--json").code == 3


def _plain(value: Any) -> Any:
    """Reading the JSON back gives the spec value, paths as text."""
    return json.loads(json.dumps(codec.encode(value), default=str))


def test_json_reads_back_as_the_spec_value(cli: Any, answers: Any) -> None:
    answers("status", STATUS)
    assert codec.decode(Status, cli("status", "--json").json) == STATUS
    answers("bundle_verify", MANIFEST)
    assert codec.decode(Manifest, cli("bundle", "verify", "x", "--json").json) == MANIFEST


def test_device_list(cli: Any, answers: Any) -> None:
    answers("device_list", ((REAL, "registered"), (BOARD, "running")))
    ran = cli("device", "list")
    for part in ("pi@192.0.2.7:22", "real", "registered", "emulated, counted clock", "running"):
        assert part in ran.out
    document = cli("device", "list", "--json").json
    assert [one["state"] for one in document] == ["registered", "running"]
    assert codec.decode(Device, document[1]["device"]) == BOARD
    answers("device_list", ())
    assert "no board is registered" in cli("device", "list").out


def test_predict_reads_stdin(cli: Any, answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one text\n\nanother\n"))
    calls = answers("predict", PREDICTIONS)
    assert cli("predict", "-").code == 0
    assert calls[0].args == (["one text", "another"],)


def test_ssh_becomes_ssh(cli: Any, answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers("device_ssh", ("ssh", "-p", "40022", "pi@127.0.0.1"))
    became: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr("os.execvp", lambda file, argv: became.append((file, argv)))
    assert cli("device", "ssh", "a", "--", "uname", "-a").code == 0
    assert became == [("ssh", ("ssh", "-p", "40022", "pi@127.0.0.1", "uname", "-a"))]
    assert cli("device", "ssh", "a", "--json").json == ["ssh", "-p", "40022", "pi@127.0.0.1"]
    assert len(became) == 1


# device add: nobody is trusted unseen

SHOWN = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def adding(answers: Any) -> list[bool]:
    """The board shows its key; collects what ``confirm`` says to it."""
    said: list[bool] = []

    def add(name: str, address: str, *, confirm: Callable[[str], bool], **rest: Any) -> Device:
        said.append(confirm(SHOWN))
        return REAL

    answers("device_add", add)
    return said


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_add_asks(cli: Any, adding: list[bool], monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    ran = cli("device", "add", "pi", "pi@192.0.2.7", "--target", "rpi4")
    assert adding == [agreed]
    assert SHOWN in ran.err


def test_add_for_scripts(cli: Any, adding: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    argv = ("device", "add", "pi", "pi@192.0.2.7", "--target", "rpi4", "--json")
    assert cli(*argv, "--yes").json["name"] == "pi"
    assert cli(*argv, "--fingerprint", SHOWN).code == 0
    assert adding == [True, True]
    other = cli(*argv, "--fingerprint", "SHA256:other")
    assert (other.code, other.json["error"]) == (HostKeyError.exit_code, "HostKeyError")
    assert (other.json["given"], other.json["allowed"]) == (SHOWN, "SHA256:other")
    nobody = cli(*argv)
    assert (nobody.code, nobody.json["given"]) == (UsageError.exit_code, SHOWN)
    assert f"--fingerprint {SHOWN}" in nobody.err


# targets and recipes, for real


def test_targets(cli: Any) -> None:
    ran = cli("targets")
    assert ran.code == 0
    assert "Raspberry Pi 4 Model B" in ran.out
    assert [codec.decode(Target, one) for one in cli("targets", "--json").json] == list(load.targets())
    one = cli("targets", "rpi4")
    for part in ("Cortex-A72", "ai-edge-litert==2.3.0", "refused:", "48 GFLOP/s", "differs"):
        assert part in one.out


def test_an_unknown_target_has_its_nearest_names(cli: Any) -> None:
    ran = cli("targets", "rpi6", "--json")
    assert ran.code == 3
    assert "'rpi5'" in ran.json["mend"]


@pytest.mark.parametrize("noun", ["targets", "recipes"])
def test_schemas(cli: Any, noun: str) -> None:
    human, machine = cli(noun, "--schema"), cli(noun, "--schema", "--json")
    assert human.json == machine.json
    Draft202012Validator.check_schema(human.json)


def test_recipes(cli: Any) -> None:
    ran = cli("recipes", "--json")
    assert ran.code == 0
    assert [one["recipe"]["name"] for one in ran.json] == [recipe.name for _, recipe in load.recipes()]
    assert cli("recipes").code == 0
