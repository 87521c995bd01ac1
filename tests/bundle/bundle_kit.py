from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit.bundle import build, sign
from edgekit.spec.manifest import Artifact, Blob, Manifest, OpCount, Realised, Signature, Tensor


@dataclass(frozen=True)
class Made:
    """A small signed bundle, what it was written from, and who is trusted."""

    folder: Path
    manifest: Manifest
    blobs: dict[str, Path]
    key: Path
    trusted: Path


def blob(data: bytes, folder: Path) -> tuple[Blob, Path]:
    sha256 = hashlib.sha256(data).hexdigest()
    file = folder / sha256[:12]
    file.write_bytes(data)
    return Blob(sha256, len(data)), file


def small_manifest(folder: Path, target: str | None = "rpi4", seed: int = 7) -> tuple[Manifest, dict[str, Path]]:
    contents = {
        "optimized": b"TFL3 int8 " * 20,
        "baseline": b"TFL3 float " * 80,
        "tokenizer": b'{"model": {"type": "WordPiece"}}',
        "golden": b'{"text": "a fast game", "label": 1}\n',
        "samples": b'{"text": "a fast game", "label": 1}\n{"text": "a shell", "label": 0}\n',
    }
    made = {name: blob(data, folder) for name, data in contents.items()}
    signature = Signature("len16", 16, (Tensor("input_ids", (1, 16), "int32"),), (Tensor("logits", (1, 2), "float32"),))
    operators = (OpCount("FULLY_CONNECTED", "int8", 38), OpCount("SOFTMAX", "float32", 6), OpCount("ADD", "int8", 4))
    realised = Realised(operators, {"int8": 180}, ("SOFTMAX stays float",))
    tokenizer = made["tokenizer"][0]
    manifest = Manifest(
        name="minilm-sections",
        task="text-classification",
        recipe_digest="a" * 64,
        data_digest="b" * 64,
        seed=seed,
        labels=("admin", "games"),
        artifacts=(
            Artifact(
                "minilm-w8_a8_static",
                "optimized",
                "tflite",
                "w8_a8_static",
                made["optimized"][0],
                tokenizer,
                (signature,),
                realised,
                accuracy=80.9,
                accuracy_samples=2000,
                parameters=5_600_000,
            ),
            Artifact(
                "minilm-w32_a32_float",
                "baseline",
                "tflite",
                "w32_a32_float",
                made["baseline"][0],
                tokenizer,
                (signature,),
                accuracy=81.4,
                accuracy_samples=2000,
                parameters=22_700_000,
            ),
        ),
        golden=made["golden"][0],
        samples=made["samples"][0],
        versions={"torch": "2.13.0"},
        licences={"model": "Apache-2.0"},
        target=target,
    )
    return manifest, {one.sha256: file for one, file in made.values()}


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A signing key and the file that trusts it."""
    folder = tmp_path_factory.mktemp("keys")
    key = sign.ensure_key(folder / "signing")
    sign.allow(folder / "allowed_signers", folder / "signing.pub")
    return key, folder / "allowed_signers"


@pytest.fixture
def made(tmp_path: Path, keys: tuple[Path, Path]) -> Made:
    sources = tmp_path / "sources"
    sources.mkdir()
    manifest, blobs = small_manifest(sources)
    folder = tmp_path / "bundle"
    build.write(folder, manifest, blobs, keys[0])
    return Made(folder, manifest, blobs, *keys)
