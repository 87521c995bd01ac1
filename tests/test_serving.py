"""A signed bundle served on this host, from ``edgekit serve --local`` to an answer."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_kit import INTERPRETER, LABELS, OLD_MODEL, WORDS, label_of, tokenizer

import edgekit
from edgekit.bundle import build, sign
from edgekit.errors import BundleError, RolledBack, UsageError
from edgekit.home import Home
from edgekit.spec import codec
from edgekit.spec.manifest import Artifact, Blob, GoldenCase, Manifest, Signature, Tensor

pytest.importorskip("tokenizers", reason="needs the 'host' extra")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose interpreter finds the made runtime first."""
    runtime = tmp_path / "runtime/ai_edge_litert"
    runtime.mkdir(parents=True)
    (runtime / "__init__.py").write_text("")
    (runtime / "interpreter.py").write_text(INTERPRETER)
    monkeypatch.setenv("PYTHONPATH", str(runtime.parent))
    return Home(tmp_path / "home")


def bundle(home: Home, folder: Path, shift: int = 0) -> Path:
    """A signed bundle; with a ``shift`` its golden cases are not what its model answers."""
    parts: dict[str, bytes] = {
        "model": OLD_MODEL,
        "tokenizer": tokenizer(),
        "golden": "".join(
            codec.dumps(GoldenCase(one, (label_of(one, OLD_MODEL) + shift) % len(LABELS))) + "\n" for one in WORDS[:8]
        ).encode(),
        "samples": b'{"text":"chess","label":0}\n',
    }
    blobs = {name: Blob(hashlib.sha256(data).hexdigest(), len(data)) for name, data in parts.items()}
    loose = folder.with_name("loose")
    loose.mkdir(exist_ok=True)
    for name, data in parts.items():
        (loose / blobs[name].sha256).write_bytes(data)
    inputs = (Tensor("input_ids", (1, 16), "int32"), Tensor("attention_mask", (1, 16), "int32"))
    signature = Signature("len16", 16, inputs, (Tensor("logits", (1, len(LABELS)), "float32"),))
    artifact = Artifact(
        "tiny", "optimized", "tflite", "w32_a32_float", blobs["model"], blobs["tokenizer"], (signature,)
    )
    manifest = Manifest(
        name="tiny",
        task="text-classification",
        recipe_digest="0" * 64,
        data_digest="1" * 64,
        seed=1,
        labels=LABELS,
        artifacts=(artifact,),
        golden=blobs["golden"],
        samples=blobs["samples"],
    )
    build.write(folder, manifest, {one.name: one for one in loose.iterdir()}, key(home))
    return folder


def key(home: Home) -> Path:
    """This host's key, which it trusts."""
    made = sign.ensure_key(home.keys / "signing")
    sign.allow(home.keys / "trusted", made.with_suffix(".pub"))
    return made


@pytest.fixture
def served(home: Home, tmp_path: Path) -> Iterator[edgekit.Client]:
    made = edgekit.serve_local(bundle(home, tmp_path / "bundle"), socket=tmp_path / "socket", home=home)
    process = subprocess.Popen(made.command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert b"answers" in process.stderr.readline()
    try:
        yield edgekit.Client(made.socket)
    finally:
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_a_bundle_is_served_here(served: edgekit.Client) -> None:
    answers = served.predict(list(WORDS[:8]), top=1)
    assert [one.label for one in answers.predictions] == [label_of(one, OLD_MODEL) for one in WORDS[:8]]
    assert answers.artifact == "tiny"


def test_a_bundle_that_answers_otherwise_here_is_not_served(home: Home, tmp_path: Path) -> None:
    with pytest.raises(RolledBack, match="golden case 1"):
        edgekit.serve_local(bundle(home, tmp_path / "bundle", shift=1), socket=tmp_path / "socket", home=home)


def test_what_cannot_be_served_is_told_before_anything_is_written(home: Home, tmp_path: Path) -> None:
    made = bundle(home, tmp_path / "bundle")
    with pytest.raises(UsageError, match="too long"):
        edgekit.serve_local(made, socket=tmp_path / ("long" * 40), home=home)
    with pytest.raises(UsageError, match="cannot be read"):
        edgekit.serve_local(made, token_file=tmp_path / "nowhere", home=home)
    empty = tmp_path / "token"
    empty.touch(0o600)
    with pytest.raises(UsageError, match="no token in this file"):
        edgekit.serve_local(made, listen="127.0.0.1:0", token_file=empty, home=home)
    with pytest.raises(BundleError, match="no such bundle"):
        edgekit.serve_local("nothing", home=home)
    assert not any(home.served.iterdir())
