from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from edgekit.errors import BuildError
from edgekit.models import source
from edgekit.spec.recipe import ModelSpec

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"{}"}
METADATA = b"Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\nLicense: MIT\n"
PIN = hashlib.sha256(b"weights").hexdigest()


def folder(path: Path) -> Path:
    path.mkdir()
    for name, content in FILES.items():
        (path / name).write_bytes(content)
    return path


def wheel(shelf: Path, files: dict[str, bytes]) -> Path:
    """A wheel that pip accepts, with ``files`` below its package; importing it would fail."""
    info = "toy_model-1.0.dist-info"
    file = shelf / "toy_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("toy_model/__init__.py", "raise SystemExit('imported')")
        for name, content in files.items():
            archive.writestr("toy_model/" + name, content)
        archive.writestr(info + "/METADATA", METADATA)
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(info + "/RECORD", "")
    return file


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place pip looks."""
    path = tmp_path / "shelf"
    path.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path))
    return path


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    folder(tmp_path / "mine")
    assert source.resolve(ModelSpec(path="mine", sha256=PIN), tmp_path, tmp_path) == tmp_path / "mine"


def test_missing_files_are_named(tmp_path: Path) -> None:
    (folder(tmp_path / "mine") / "tokenizer.json").unlink()
    with pytest.raises(BuildError, match=r"lacks tokenizer\.json"):
        source.resolve(ModelSpec(path="mine"), tmp_path, tmp_path)
    with pytest.raises(BuildError, match="no such model folder"):
        source.resolve(ModelSpec(path="other"), tmp_path, tmp_path)


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    mine = folder(tmp_path / "mine")
    (mine / "model.safetensors").rename(mine / "pytorch_model.bin")
    with pytest.raises(BuildError, match="can run code"):
        source.resolve(ModelSpec(path="mine"), tmp_path, tmp_path)


def test_other_weights_than_pinned(tmp_path: Path) -> None:
    folder(tmp_path / "mine")
    with pytest.raises(BuildError, match="not the pinned ones"):
        source.resolve(ModelSpec(path="mine", sha256="0" * 64), tmp_path, tmp_path)


def test_files_of_a_wheel(shelf: Path, tmp_path: Path) -> None:
    file = wheel(shelf, {"model/" + name: content for name, content in FILES.items()} | {"model/deeper/x": b"x"})
    spec = ModelSpec(package="toy-model==1.0", sha256=PIN)
    found = source.resolve(spec, tmp_path, tmp_path / "cache")
    assert {one.name: one.read_bytes() for one in found.iterdir()} == {**FILES, "METADATA": METADATA}
    file.unlink()
    assert source.resolve(spec, tmp_path, tmp_path / "cache") == found


@pytest.mark.parametrize(
    ("files", "spec", "message"),
    [
        ({"weights/config.json": b"{}"}, ModelSpec(package="toy-model==1.0"), "weights"),
        ({"model/config.json": b"{}"}, ModelSpec(package="toy-model==1.0"), "lacks model.safetensors"),
        ({"model/" + k: v for k, v in FILES.items()}, ModelSpec(package="toy-model==1.0", sha256="0" * 64), "pinned"),
        ({}, ModelSpec(package="toy-model==2.0"), "cannot be had"),
    ],
)
def test_a_wheel_that_does_not_do_leaves_nothing(
    shelf: Path, tmp_path: Path, files: dict[str, bytes], spec: ModelSpec, message: str
) -> None:
    wheel(shelf, files)
    with pytest.raises(BuildError, match=message):
        source.resolve(spec, tmp_path, tmp_path / "cache")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_the_hub_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BuildError, match="cannot be reached"):
        source.resolve(ModelSpec(hub="nobody/nothing"), tmp_path, tmp_path)
    with pytest.raises(BuildError, match="owner/name"):
        source.resolve(ModelSpec(hub="no/such/form"), tmp_path, tmp_path)
