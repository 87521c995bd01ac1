"""What a benchmark found: runs are raw and immutable, a result is all runs of one benchmark on one device.

Every figure carries how it was had: ``clock`` is ``wall`` (seconds that passed) or ``counted`` (the emulated board's
clock counts instructions: a cost in the dress of time), and ``emulated`` says whether the board was one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.device import Clock
from edgekit.spec.spans import Span
from edgekit.spec.target import Facts
from edgekit.spec.task import NextTokens

SCHEMA = 1


@dataclass(frozen=True)
class Job:
    """What one child process measures. ``pad_to`` forces one length (the naive way); ``None`` takes the least bucket
    that holds the text. ``samples`` texts are timed after ``warmup`` untimed ones, on ``threads`` threads and on
    ``cores`` (none: any)."""

    solution: str
    artifact: str
    pad_to: Optional[int] = None
    samples: int = 64
    warmup: int = 4
    threads: int = 1
    cores: Tuple[int, ...] = ()


@dataclass(frozen=True)
class Measured:
    """What one process measured. Times in milliseconds of the device's clock, memory in bytes.

    ``end_to_end`` is tokenize → bucket → run → decode, one value a text; ``model_only`` the runtime's invocation alone.
    ``bare_rss`` and ``bare_pss`` stand for the interpreter before any import of ours; ``vm_hwm`` is the high-water mark
    at the end, ``pss`` the proportional set size at the end. ``labels`` are the answers, in the samples' order:
    classes, of a language model the token it would go on with after each text, or where words are labelled how many
    ``spans`` there are in each; where texts are embedded, 0, and the answers are ``embeddings``. ``language`` is how it
    told the texts' own tokens, which is counted outside of the times.
    """

    import_ms: float
    init_ms: float
    first_ms: float
    end_to_end: Tuple[float, ...]
    model_only: Tuple[float, ...]
    labels: Tuple[int, ...]
    bare_rss: int
    bare_pss: int
    vm_hwm: int
    pss: int
    padded_tokens: int = 0
    real_tokens: int = 0
    language: Optional[NextTokens] = None
    spans: Optional[Tuple[Tuple[Span, ...], ...]] = None
    embeddings: Optional[Tuple[Tuple[float, ...], ...]] = None


@dataclass(frozen=True)
class Run:
    """One benchmark process. ``failure`` says how it died (``SIGSEGV``, ``killed: out of memory``, an exception);
    ``invalid`` why its figures must not be used (throttled, swapping)."""

    job: Job
    measured: Optional[Measured] = None
    failure: Optional[str] = None
    invalid: Tuple[str, ...] = ()
    sensors: Dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Solution:
    """What stands behind one row of the table: an artifact's description, as the report needs it. ``accuracy`` and
    ``perplexity`` are the artifact's."""

    name: str
    artifact: str
    format: str
    scheme: str
    size: int
    parameters: int
    accuracy: Optional[float]
    accuracy_samples: int
    perplexity: Optional[float] = None


@dataclass(frozen=True)
class Result:
    """All runs of one benchmark. ``truth`` are the samples' labels (a language model's have none), ``host_labels`` the
    optimized artifact's answers on the host for the same texts. ``created`` is ISO 8601, UTC."""

    bundle: str
    name: str
    target: str
    device: str
    emulated: bool
    clock: Clock
    created: str
    facts: Facts
    solutions: Tuple[Solution, ...]
    runs: Tuple[Run, ...]
    truth: Tuple[int, ...] = ()
    host_labels: Tuple[int, ...] = ()
    power: Literal["not measured", "not measured: no sensor"] = "not measured: no sensor"
    versions: Dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown result schema", where="$.schema", given=self.schema, allowed=SCHEMA)
