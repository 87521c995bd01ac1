"""The recipe: which model, which data, which compression steps, which formats, which gates.

Decoded by ``edgekit.load`` from YAML. Checks that need only the recipe itself stand here; those that need the
model or the data are made by the stage that has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import List, Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.scheme import FORMAT_SCHEMES, Format, Scheme

SCHEMA = 1


def at_least(value: float, bound: float, path: str) -> None:
    """Raise SpecError at ``$.path`` where ``value`` is under ``bound``."""
    if value < bound:
        raise SpecError("too small", where="$." + path, given=value, allowed="{} or more".format(bound))


def within(value: float, low: float, high: float, path: str) -> None:
    """Raise SpecError at ``$.path`` where ``value`` is outside ``[low, high]``."""
    if not low <= value <= high:
        raise SpecError("out of range", where="$." + path, given=value, allowed="{} to {}".format(low, high))


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
class Unlabeled:
    """Texts without labels: the student learns the teacher's logits on them as well, the labels' loss leaves them out.

    ``source`` is one of DataSpec's, or ``text`` (``files`` with one text a line); ``debian-sections`` are here the
    descriptions of all sections that are no class. ``text`` names the column; ``translation.en`` reaches a nested one.
    ``limit`` is how many distinct texts are drawn; texts that are samples, held out or not, are never among them.
    """

    source: Literal["debian-sections", "jsonl", "csv", "text", "hf"]
    files: Tuple[str, ...] = ()
    name: Optional[str] = None
    config: Optional[str] = None
    split: str = "train"
    text: str = "text"
    limit: int = 10000

    def __post_init__(self) -> None:
        _check_source(self.source, self.files, self.name)
        at_least(self.limit, 1, "limit")


@dataclass(frozen=True)
class DataSpec:
    """Labelled texts and how they become samples.

    ``source`` is ``debian-sections`` (package descriptions, labelled by section), ``jsonl`` or ``csv`` (``files``, one
    or several paths relative to the recipe) or ``hf`` (``name`` and ``config`` of a Hugging Face data set). ``text``
    and ``label`` name the columns; ``a.b`` reaches a nested one. ``labels`` keeps only these classes, in this order;
    empty means all, sorted. ``test`` and ``validation`` are how many samples are held out, ``train`` caps the rest (0:
    all of it). ``unlabeled`` are more texts to distill on.
    ``lengths`` are the length buckets in tokens, smallest first; the last one truncates.
    """

    source: Literal["debian-sections", "jsonl", "csv", "hf"]
    files: Tuple[str, ...] = ()
    name: Optional[str] = None
    config: Optional[str] = None
    split: str = "train"
    text: str = "text"
    label: str = "label"
    labels: Tuple[str, ...] = ()
    lowercase: bool = False
    train: int = 0
    validation: int = 500
    test: int = 2000
    lengths: Tuple[int, ...] = (16, 32, 64, 128)
    unlabeled: Optional[Unlabeled] = None

    def __post_init__(self) -> None:
        _check_source(self.source, self.files, self.name)
        if not self.lengths or list(self.lengths) != sorted(set(self.lengths)) or self.lengths[0] < 4:
            raise SpecError(
                "length buckets rise, and start at 4 tokens or more", where="$.lengths", given=list(self.lengths)
            )
        at_least(self.train, 0, "train")
        at_least(self.validation, 1, "validation")
        at_least(self.test, 1, "test")


@dataclass(frozen=True)
class Finetune:
    """Train the model on the task; what comes out is the teacher, and the reference of every gate."""

    epochs: int = 3
    learning_rate: float = 1e-4
    batch: int = 32
    warmup: float = 0.1
    weight_decay: float = 0.01
    patience: int = 2

    def __post_init__(self) -> None:
        _check_training(self.epochs, self.learning_rate, self.batch)
        within(self.warmup, 0.0, 0.9, "warmup")
        at_least(self.patience, 1, "patience")


@dataclass(frozen=True)
class Vocabulary:
    """Drop the tokens that the training texts never use; the tokenizer is rewritten with them.

    Single characters and special tokens always stay, so that every text can still be spelled. A token stays when
    the training texts use it ``min_count`` times.
    """

    min_count: int = 1

    def __post_init__(self) -> None:
        at_least(self.min_count, 1, "min_count")


@dataclass(frozen=True)
class Distill:
    """Train a student made of chosen teacher ``layers`` on the teacher's logits and hidden states (Hinton 2015).

    The loss is ``label·CE + logits·T²·KL + hidden·MSE`` with the three weights below and ``temperature`` T.
    """

    layers: Tuple[int, ...] = ()
    epochs: int = 3
    learning_rate: float = 3e-4
    batch: int = 32
    temperature: float = 2.0
    label: float = 0.3
    logits: float = 1.0
    hidden: float = 0.1
    warmup: float = 0.1
    weight_decay: float = 0.01
    patience: int = 3

    def __post_init__(self) -> None:
        _check_training(self.epochs, self.learning_rate, self.batch)
        within(self.temperature, 0.1, 100, "temperature")
        if not self.layers or list(self.layers) != sorted(set(self.layers)):
            raise SpecError(
                "name the teacher layers the student keeps, rising", where="$.layers", given=list(self.layers)
            )
        for name in ("label", "logits", "hidden"):
            at_least(getattr(self, name), 0.0, name)
        if self.label + self.logits + self.hidden == 0:
            raise SpecError("all loss weights are 0: nothing would be learned", where="$.logits")


@dataclass(frozen=True)
class Prune:
    """Cut heads, feed-forward neurons and whole layers by first-order Taylor importance (Michel 2019), then recover.

    ``heads``, ``ffn`` and ``layers`` say how many each layer (the model, for ``layers``) keeps; left out means all.
    ``recover`` is how the cut model is trained again: the losses are those of ``distill``, from the same teacher.
    """

    heads: Optional[int] = None
    ffn: Optional[int] = None
    layers: Optional[int] = None
    samples: int = 512
    recover_epochs: int = 1
    learning_rate: float = 2e-4
    batch: int = 32
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if self.heads is None and self.ffn is None and self.layers is None:
            raise SpecError("nothing to prune", where="$", allowed="heads, ffn, layers", remedy="ffn: 768")
        if self.ffn is not None and (self.ffn < 8 or self.ffn % 8):
            raise SpecError("widths are multiples of 8, as the kernels work", where="$.ffn", given=self.ffn)
        for name in ("heads", "layers"):
            if getattr(self, name) is not None:
                at_least(getattr(self, name), 1, name)
        at_least(self.samples, 8, "samples")
        at_least(self.recover_epochs, 0, "recover_epochs")


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
class Calibration:
    """How the ranges of static int8 activations are found on training texts.

    ``minmax`` takes the extremes, ``percentile`` cuts ``100 - percentile`` % of the values off each tail, ``mse``
    takes the clipping that loses the least squared error.
    """

    samples: int = 256
    ranges: Literal["minmax", "percentile", "mse"] = "mse"
    percentile: float = 99.99

    def __post_init__(self) -> None:
        at_least(self.samples, 2, "samples")
        within(self.percentile, 50.0, 100.0, "percentile")


@dataclass(frozen=True)
class Convert:
    """Which formats and schemes become candidates; the best measured one that meets the gates ships."""

    formats: Tuple[Format, ...] = ("tflite",)
    schemes: Tuple[Scheme, ...] = ("w32_a32_float", "w8_a32_dynamic", "w8_a8_static")
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        if not self.formats or not self.schemes:
            raise SpecError("name at least one format and one scheme", where="$.formats")
        for name in self.formats:
            if not set(FORMAT_SCHEMES[name]) & set(self.schemes):
                raise SpecError(
                    "none of the schemes can be written as {}".format(name),
                    where="$.schemes",
                    given=list(self.schemes),
                    allowed=FORMAT_SCHEMES[name],
                )
        held = sorted({one for name in self.formats for one in FORMAT_SCHEMES[name]})
        for scheme in self.schemes:
            if scheme not in held:
                raise SpecError(
                    "none of the formats can hold this scheme",
                    where="$.schemes",
                    given=scheme,
                    allowed=held,
                    remedy="leave it out, or name a format that holds it",
                )


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
        if not distilled or any(one.logits == 0 for one in distilled):
            raise SpecError(
                "texts without labels teach through a teacher's logits, and no step here learns those from them",
                where="$.data.unlabeled",
                remedy="add a step distill with logits above 0, or leave data.unlabeled out",
            )
        if any(one.hidden > 0 for one in distilled):
            raise SpecError(
                "texts without labels teach through logits only: a trimmed vocabulary may split them otherwise",
                where="$.data.unlabeled",
                given=", ".join("hidden {:g}".format(one.hidden) for one in distilled),
                allowed="hidden: 0",
                remedy="set distill's hidden to 0, or leave data.unlabeled out",
            )


def _check_source(source: str, files: Tuple[str, ...], name: Optional[str]) -> None:
    if source in ("jsonl", "csv", "text") and not files:
        raise SpecError("source {!r} needs files".format(source), where="$.files", remedy="files: [mine.jsonl]")
    if source == "hf" and not name:
        raise SpecError("source 'hf' needs a data set's name", where="$.name", remedy="name: ag_news")


def _check_training(epochs: int, learning_rate: float, batch: int) -> None:
    at_least(epochs, 1, "epochs")
    at_least(batch, 1, "batch")
    within(learning_rate, 1e-8, 1.0, "learning_rate")
