"""What the verbs answer: plain frozen values, so that a program and ``--json`` see the same thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.benchmark.summary import Line
from edgekit.spec.manifest import Manifest
from edgekit.spec.result import Result
from edgekit.spec.service import ServiceState
from edgekit.spec.step import StepReport
from edgekit.spec.target import Facts, Target, Verdict
from edgekit.spec.trial import Sensitivity, Trial
from edgekit.spec.wire import Health, Predictions

if TYPE_CHECKING:
    from edgekit.data.lengths import LengthStatistics


#: Where candidates were timed when no board was named.
HOST = "host"


@dataclass(frozen=True)
class Candidate:
    """One format and scheme of the compressed model, and how it did against the gates.

    ``size`` in bytes, ``accuracy`` in per cent on the held-out texts with this very file, ``drop`` in points against
    the reference (of a language model, of next tokens that were the likeliest one, with the ``perplexity`` and its rise
    in per cent of the reference's beside it), ``latency_ms`` per text end to end (median) and ``peak_memory`` in bytes
    above the bare interpreter, both on ``measured_on``. ``coverage`` is the share of weights in the scheme's precision
    or less, in per cent. Where words are labelled, ``f1`` is of the spans in per cent and ``f1_drop`` in points against
    the reference's; of embeddings, ``mean_cosine`` and ``least_cosine`` compare the held-out texts' with the
    reference's, and ``accuracy`` is the share whose nearest other text is the same. ``memory`` is the estimate of
    ``peak_memory`` from the file alone, an upper bound. ``verdicts`` are the gates it missed, ``failure`` why it never
    came that far.
    """

    name: str
    format: str
    scheme: str
    size: int = 0
    accuracy: float | None = None
    drop: float | None = None
    latency_ms: float | None = None
    peak_memory: int | None = None
    measured_on: str | None = None
    failure: str | None = None
    verdicts: tuple[str, ...] = ()
    shipped: bool = False
    perplexity: float | None = None
    perplexity_rise: float | None = None
    coverage: float | None = None
    f1: float | None = None
    f1_drop: float | None = None
    mean_cosine: float | None = None
    least_cosine: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Built:
    """``texts`` says how the samples fall into the length buckets and what truncation loses. ``steps`` are the
    recipe's, each with what it did. ``lock`` is the recipe.lock beside the bundle."""

    bundle: Path
    digest: str
    manifest: Manifest
    candidates: tuple[Candidate, ...]
    texts: LengthStatistics
    reused: tuple[str, ...] = ()
    steps: tuple[StepReport, ...] = ()
    lock: Path | None = None


@dataclass(frozen=True)
class Deployed:
    """``plan`` is what was done, or with ``dry_run`` what would be. ``already`` says that nothing was left to do.
    ``service`` is set where it was asked for."""

    device: str
    bundle: Path
    digest: str
    plan: tuple[str, ...]
    dry_run: bool = False
    already: bool = False
    health: Health | None = None
    seconds: float = 0.0
    sent_bytes: int = 0
    service: ServiceState | None = None


@dataclass(frozen=True)
class Served:
    """What serves a bundle on this host: ``command``, to be started; then ``socket`` and ``url`` can be asked."""

    release: str
    socket: str
    url: str | None
    command: tuple[str, ...]


@dataclass(frozen=True)
class Benched:
    """``before`` is the earlier result it is compared with, where one was named; ``rows`` sum the result up."""

    result: Result
    files: dict[str, Path]
    before: Result | None = None
    rows: tuple[Line, ...] = ()


@dataclass(frozen=True)
class ProbeRow:
    name: str
    expected: str
    found: str
    ok: bool


@dataclass(frozen=True)
class Probe:
    """``fits`` is the target that the board is, ``None`` where none fits; ``rows`` compare it with ``against``."""

    device: str
    facts: Facts
    fits: str | None
    against: str
    rows: tuple[ProbeRow, ...]


@dataclass(frozen=True)
class Reported:
    """``before`` is set where two results are compared; ``rows`` sum ``result`` up."""

    result: Result
    html: Path | None = None
    before: Result | None = None
    rows: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Share:
    """Of labelled texts, those stay that are answered with a probability of ``bound`` or more (``None``: what the
    release itself calls sure): ``local`` per cent of them all, of which ``local_accuracy`` per cent are right. The
    ``handed`` others are answered by another service, ``handed_accuracy`` per cent of them rightly; ``together`` so
    many of all are right. ``None`` where there are none, or nobody else was asked."""

    bound: float | None
    local: float
    local_accuracy: float | None
    handed: int
    handed_accuracy: float | None = None
    together: float | None = None


@dataclass(frozen=True)
class Assessed:
    """What share of ``samples`` texts a release answers itself, and how rightly: ``rows`` by rising bound, and its
    ``own``. ``fallback_accuracy`` is what the service ``fallback`` would reach alone. Accuracies are per cent."""

    release: str
    artifact: str
    samples: int
    rows: tuple[Share, ...]
    own: Share
    fallback: str | None = None
    fallback_accuracy: float | None = None


@dataclass(frozen=True)
class Demo:
    built: Built
    deployed: Deployed
    benched: Benched
    predictions: Predictions


@dataclass(frozen=True)
class RangeRow:
    """One value that may differ, and what it may be."""

    path: str
    values: str


@dataclass(frozen=True)
class SearchPlan:
    """What a search would do. ``combinations`` is ``None`` where a range is continuous."""

    name: str
    trials: int
    combinations: int | None
    ranges: tuple[RangeRow, ...]
    gates: dict[str, Any]


@dataclass(frozen=True)
class Searched:
    """``front`` are the numbers of the trials that none beats, ``knee`` the one beyond which little more is won.
    ``winner`` was built: ``command`` are the ``--set`` values that build it again. ``predicted_ms`` is the table's
    price, ``measured_ms`` what the device (or this host) measured of the same file, ``error`` the share it is off by.
    """

    folder: Path
    table: Path
    trials: tuple[Trial, ...]
    front: tuple[int, ...] = ()
    knee: int | None = None
    winner: int | None = None
    built: Built | None = None
    predicted_ms: float | None = None
    measured_ms: float | None = None
    error: float | None = None
    command: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Analyzed:
    """A sensitivity scan, and its page where one was asked for."""

    sensitivity: Sensitivity
    html: Path | None = None


@dataclass(frozen=True)
class Compatibility:
    """What every known kind of board runs: a verdict for each format and scheme there is."""

    targets: tuple[Target, ...]
    verdicts: tuple[Verdict, ...]
