"""What a person wants to know of a bundle before deploying it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.folder import SIGNATURE, entries, read
from edgekit.spec.manifest import Artifact


@dataclass(frozen=True)
class ArtifactSummary:
    """``size`` in bytes; ``operators`` counts by precision; ``weight_bytes`` likewise; ``accuracy`` in per cent."""

    name: str
    role: str
    format: str
    scheme: str
    size: int
    parameters: int
    lengths: tuple[int, ...]
    operators: dict[str, int]
    weight_bytes: dict[str, int]
    fallbacks: tuple[str, ...]
    accuracy: float | None
    accuracy_samples: int
    min_cosine: float | None


@dataclass(frozen=True)
class Summary:
    """``size`` in bytes of all blobs together; ``signed`` says that a signature is there, not that it is trusted."""

    name: str
    digest: str
    task: str
    target: str | None
    signed: bool
    size: int
    blobs: int
    labels: tuple[str, ...]
    seed: int
    recipe_digest: str
    data_digest: str
    artifacts: tuple[ArtifactSummary, ...]
    versions: dict[str, str]
    licences: dict[str, str]


def inspect(folder: Path) -> Summary:
    """Sum up the bundle at ``folder`` from its manifest alone. Raises BundleError where it is no bundle."""
    manifest, digest = read(folder)
    blobs = [one.blob for one in entries(manifest)]
    return Summary(
        name=manifest.name,
        digest=digest,
        task=manifest.task,
        target=manifest.target,
        signed=(folder / SIGNATURE).is_file(),
        size=sum(one.size for one in blobs),
        blobs=len(blobs),
        labels=manifest.labels,
        seed=manifest.seed,
        recipe_digest=manifest.recipe_digest,
        data_digest=manifest.data_digest,
        artifacts=tuple(_artifact(one) for one in manifest.artifacts),
        versions=manifest.versions,
        licences=manifest.licences,
    )


def _artifact(artifact: Artifact) -> ArtifactSummary:
    operators: Counter[str] = Counter()
    for one in artifact.realised.operators:
        operators[one.precision] += one.count
    return ArtifactSummary(
        name=artifact.name,
        role=artifact.role,
        format=artifact.format,
        scheme=artifact.scheme,
        size=artifact.blob.size,
        parameters=artifact.parameters,
        lengths=artifact.lengths,
        operators=dict(sorted(operators.items())),
        weight_bytes=dict(sorted(artifact.realised.weight_bytes.items())),
        fallbacks=artifact.realised.fallbacks,
        accuracy=artifact.accuracy,
        accuracy_samples=artifact.accuracy_samples,
        min_cosine=None if artifact.parity is None else artifact.parity.min_cosine,
    )
