"""The manifest of a bundle: what is in it and what was realised, not what was asked for.

A bundle is a folder ``manifest.json``, ``manifest.json.sig`` (SSHSIG) and ``blobs/<sha256>``; its digest is the
SHA-256 of ``manifest.json``, which is canonical JSON and holds nothing that differs between two builds of the same
recipe on the same machine (no times, no measured latencies).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Dict, Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.answers import Sureness
from edgekit.spec.scheme import STORED_BITS, Format, Scheme, weight_bits
from edgekit.spec.spans import Span
from edgekit.spec.task import CLASSIFY, LANGUAGE, Task
from edgekit.spec.windows import Windows

SCHEMA = 1
Role = Literal["optimized", "baseline"]
#: What an entry point is for: it scores a text, or generates one: reads several tokens at once, or one.
Kind = Literal["score", "prefill", "decode"]
SCORE: Kind = "score"
PREFILL: Kind = "prefill"
DECODE: Kind = "decode"


@dataclass(frozen=True)
class Blob:
    """A file by its content. ``size`` in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Tensor:
    """``shape`` in elements; ``dtype`` by numpy's name."""

    name: str
    shape: Tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Signature:
    """One entry point of an artifact. Of ``kind`` ``score`` it is for texts of up to ``length`` tokens, and its output
    has one row a text, or of a language model one a token. The others generate, over a cache of keys and values (see
    ``edgekit.convert.decoder``): ``prefill`` reads up to ``length`` tokens at once, ``decode`` one, and its ``length``
    is how many tokens the cache holds."""

    name: str
    length: int
    inputs: Tuple[Tensor, ...]
    outputs: Tuple[Tensor, ...]
    kind: Kind = SCORE


@dataclass(frozen=True)
class OpCount:
    """``count`` operators of one kind computed in one ``precision`` (``int8``, ``int8-weights``, ``float32``, …)."""

    operator: str
    precision: str
    count: int


@dataclass(frozen=True)
class Realised:
    """What the converter wrote: operators by precision, bytes of weights by precision, and what fell back to float."""

    operators: Tuple[OpCount, ...] = ()
    weight_bytes: Dict[str, int] = field(default_factory=dict)
    fallbacks: Tuple[str, ...] = ()

    def coverage(self, scheme: str) -> Optional[float]:
        """Of the weights, how many per cent are stored in no more bits than ``scheme`` gives them; ``None`` where the
        file tells none."""
        weights = {
            STORED_BITS[kind]: size * 8 / STORED_BITS[kind]
            for kind, size in self.weight_bytes.items()
            if kind in STORED_BITS
        }
        total = sum(weights.values())
        covered = sum(count for bits, count in weights.items() if bits <= weight_bits(scheme))
        return 100.0 * covered / total if total else None


@dataclass(frozen=True)
class Parity:
    """Golden cases against the float module: least cosine of the logits, share of equal labels, and the bounds held."""

    cases: int
    min_cosine: float
    label_agreement: float
    required_cosine: float
    required_agreement: float


@dataclass(frozen=True)
class Artifact:
    """One model file. ``accuracy`` in per cent on ``accuracy_samples`` held-out texts, measured with this very file in
    its own runtime on the host; of a language model, of the texts' next tokens, and ``perplexity`` is e to their mean
    negative log-likelihood. ``tokenizer`` names the tokenizer.json this file was built for (a trimmed vocabulary
    has its own). A ``dynamic`` file takes any length up to its longest, so that no text is padded.
    ``runtimes`` are those that have all its operators, where not every one of its format does. ``tags`` are what the
    logits of a token stand for, of a file that labels words; its ``accuracy`` is of their tags, and ``f1`` in per cent
    of the spans that they make (:class:`edgekit.spec.spans.SpanCounts`). ``task`` is what its answers are. Of one that
    embeds texts, the ``accuracy`` is the share of held-out texts whose nearest other one is also the reference's, and
    ``mean_cosine`` and ``least_cosine`` compare their embeddings with the reference's.
    ``sureness`` says what a shipped classifier's probabilities are worth, ``windows`` how it reads longer texts.
    ``memory`` is the estimated peak in bytes, above the bare interpreter, of a process that loads the file and answers
    on one thread, where its format is known so well (``edgekit.convert.footprint``): an upper bound."""

    name: str
    role: Role
    format: Format
    scheme: Scheme
    blob: Blob
    tokenizer: Blob
    signatures: Tuple[Signature, ...]
    realised: Realised = field(default_factory=Realised)
    parity: Optional[Parity] = None
    accuracy: Optional[float] = None
    accuracy_samples: int = 0
    parameters: int = 0
    perplexity: Optional[float] = None
    dynamic: bool = False
    runtimes: Tuple[str, ...] = ()
    sureness: Optional[Sureness] = None
    tags: Tuple[str, ...] = ()
    f1: Optional[float] = None
    task: Task = CLASSIFY
    mean_cosine: Optional[float] = None
    least_cosine: Optional[float] = None
    memory: Optional[int] = None
    windows: Optional[Windows] = None

    @property
    def answers(self) -> int:
        """How many answers it chooses among: classes, or a language model's tokens; 0 without signatures."""
        return self.signatures[0].outputs[0].shape[-1] if self.signatures else 0

    @property
    def lengths(self) -> Tuple[int, ...]:
        """The length buckets in tokens, rising."""
        return tuple(sorted({one.length for one in self.signatures if one.kind == SCORE}))

    @property
    def context(self) -> Optional[int]:
        """How many tokens the cache holds that it generates, or follows a stream with; ``None`` where it has none."""
        return next((one.length for one in self.signatures if one.kind == DECODE), None)

    @property
    def generates(self) -> bool:
        """Whether it goes on with texts."""
        return self.context is not None and self.task == LANGUAGE

    @property
    def follows(self) -> bool:
        """Whether it classifies a stream by all that it said so far."""
        return self.context is not None and self.task == CLASSIFY


@dataclass(frozen=True)
class GoldenCase:
    """A text, and what the optimized artifact answered on the host: the device must give the same label. Of a language
    model, ``label`` is the number of the token that it would go on with; where words are labelled, how many spans there
    are, and the ``spans`` must be the same; an ``embedding`` must be the same but for the kernels' rounding."""

    text: str
    label: int
    spans: Optional[Tuple[Span, ...]] = None
    embedding: Optional[Tuple[float, ...]] = None


@dataclass(frozen=True)
class Manifest:
    """``golden`` and ``samples`` are blobs of JSON lines: golden cases, and held-out texts ``{"text", "label"}`` with
    which benchmarks measure; of a language model, without ``labels``, that label says nothing. Where words are
    labelled, ``labels`` are their tags. ``versions`` are the packages that built it, ``seed`` the recipe's,
    ``data_digest`` of the samples and ``provenance`` where they come from, ``recipe_digest`` of the recipe as
    decoded."""

    name: str
    task: str
    recipe_digest: str
    data_digest: str
    seed: int
    labels: Tuple[str, ...]
    artifacts: Tuple[Artifact, ...]
    golden: Blob
    samples: Blob
    versions: Dict[str, str] = field(default_factory=dict)
    licences: Dict[str, str] = field(default_factory=dict)
    provenance: Dict[str, str] = field(default_factory=dict)
    target: Optional[str] = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown manifest schema", where="$.schema", given=self.schema, allowed=SCHEMA)
        if len([one for one in self.artifacts if one.role == "optimized"]) != 1:
            raise SpecError("a bundle ships exactly one optimized artifact", where="$.artifacts")
        if self.task == LANGUAGE:  # in older bundles the artifacts do not name it
            named = tuple(replace(one, task=LANGUAGE) for one in self.artifacts)
            object.__setattr__(self, "artifacts", named)

    @property
    def optimized(self) -> Artifact:
        return next(one for one in self.artifacts if one.role == "optimized")

    @property
    def baseline(self) -> Optional[Artifact]:
        return next((one for one in self.artifacts if one.role == "baseline"), None)
