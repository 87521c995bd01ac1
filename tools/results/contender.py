"""A model file that is run by board.py, with its tokenizer: a peer's, or one out of a bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgekit import bundle as bundles
from edgekit.errors import UsageError
from edgekit.spec.manifest import Manifest

#: What board.py loads an artifact with, by its format.
RUNTIMES = {"tflite": "litert"}


@dataclass(frozen=True)
class Contender:
    """``runtime`` is what board.py loads ``file`` with; ``lengths`` are its buckets, empty where no text is padded."""

    name: str
    title: str
    runtime: str
    file: Path
    tokenizer: Path
    lengths: tuple[int, ...] = ()

    def spec(self, texts: Path, count: int) -> dict[str, Any]:
        """What board.py reads: ``count`` of the ``texts``, as JSON lines."""
        return {
            "runtime": self.runtime,
            "file": str(self.file),
            "tokenizer": str(self.tokenizer),
            "texts": str(texts),
            "count": count,
            "lengths": self.lengths,
        }


def peer(name: str, folder: Path, checkpoint: Path) -> Contender:
    """What export.py wrote into ``folder``."""
    described = json.loads((folder / "peers.json").read_text())[name]
    return Contender(
        name,
        described["name"],
        described["runtime"],
        folder / described["file"],
        checkpoint / "tokenizer.json",
        tuple(described["lengths"]),
    )


def bundled(bundle: Path, manifest: Manifest, role: Literal["optimized", "baseline"]) -> Contender:
    """The artifact of a bundle that ships, or the teacher's float file beside it. Raises UsageError where board.py does
    not run its format."""
    artifact = manifest.optimized if role == "optimized" else manifest.baseline
    assert artifact is not None
    return Contender(
        manifest.name if role == "optimized" else "teacher-float",
        f"{manifest.name}: {artifact.name}" if role == "optimized" else "the teacher, float32",
        runtime_of(artifact.format),
        bundles.blob_file(bundle, artifact.blob),
        bundles.blob_file(bundle, artifact.tokenizer),
        artifact.lengths,
    )


def runtime_of(format: str) -> str:
    """Raises UsageError where board.py has none."""
    if format not in RUNTIMES:
        raise UsageError("board.py runs no bundle's file of this format", given=format, allowed=sorted(RUNTIMES))
    return RUNTIMES[format]
