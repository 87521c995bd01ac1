"""The protocol between host and agent: one JSON document a line, over one SSH channel.

The host writes a :class:`Request` to the agent's stdin; the agent answers on stdout with any number of ``progress``
replies and exactly one ``done`` or ``failed`` reply, each carrying the request's ``id``. Stderr is for humans.
The first request is ``hello``; an agent that speaks another ``PROTOCOL`` fails it. Bulk data never passes here: blobs
arrive by file transfer at ``incoming/<sha256>.part`` below the agent's root, and ``commit`` verifies and takes them in.

==============  =========================================  ==================================================
operation       arguments                                  answers
==============  =========================================  ==================================================
``hello``       :class:`Hello`                             :class:`HelloReply` (recovers a pending release first)
``facts``       –                                          ``edgekit.spec.target.Facts``
``missing``     :class:`BlobList`                          :class:`Missing`: blobs not in the store
``commit``      :class:`BlobList`                          verifies and takes in; fails on a wrong hash
``unpack``      :class:`Unpack`                            wheels → one runtime folder, named by their digest
``stage``       :class:`Stage`                             release folder, whole and verified, not yet current
``activate``    :class:`ReleaseName`                       swaps ``current``; the release is *pending*
``health``      :class:`ReleaseName`                       :class:`Health`: golden cases on this device
``confirm``     :class:`ReleaseName`                       the release is *confirmed*
``rollback``    :class:`Rollback`                          :class:`Status` after it
``status``      –                                          :class:`Status`
``prune``       :class:`Prune`                             :class:`Status` after it
``predict``     :class:`Predict`                           :class:`Predictions`
``measure``     :class:`Measure`                           ``edgekit.spec.result.Run``
``signatures``  :class:`TimeSignatures`                    :class:`SignatureTimes`: bare invocations, for tables
``logs``        :class:`Logs`                              :class:`LogLines`
==============  =========================================  ==================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Literal, Optional, Tuple

from edgekit.spec.manifest import Artifact, Blob
from edgekit.spec.result import Job
from edgekit.spec.scheme import Format

PROTOCOL = 1
State = Literal["staged", "pending", "confirmed", "failed"]


@dataclass(frozen=True)
class Nothing:
    """The arguments, or the answer, of an operation that has none."""


@dataclass(frozen=True)
class Request:
    id: int
    op: str
    args: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """``kind`` is ``progress`` (``fraction`` done and a ``message``), ``done`` (``result``) or ``failed`` (``error``,
    as ``EdgekitError.to_json`` writes it)."""

    id: int
    kind: Literal["progress", "done", "failed"]
    result: Optional[Dict[str, Any]] = None
    error: Optional[Dict[str, Any]] = None
    fraction: Optional[float] = None
    message: str = ""


@dataclass(frozen=True)
class Hello:
    protocol: int
    host_time: float


@dataclass(frozen=True)
class HelloReply:
    """``recovered`` says what an interrupted deploy left and how it was put right; empty where nothing was."""

    protocol: int
    agent: str
    root: str
    recovered: str = ""


@dataclass(frozen=True)
class BlobList:
    blobs: Tuple[Blob, ...]


@dataclass(frozen=True)
class Missing:
    """``partial`` maps a hash to the bytes that ``incoming/<sha256>.part`` already holds."""

    blobs: Tuple[Blob, ...]
    partial: Dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Unpack:
    """``wheels`` are blobs in the store; ``runtime`` is the digest that names their folder."""

    runtime: str
    wheels: Tuple[Blob, ...]


@dataclass(frozen=True)
class Stage:
    """``manifest`` is the blob of manifest.json, ``blobs`` all that must be whole before the release exists.
    ``runtime`` is the digest of the unpacked wheels it runs on."""

    release: str
    manifest: Blob
    blobs: Tuple[Blob, ...]
    runtime: str


@dataclass(frozen=True)
class ReleaseName:
    release: str


@dataclass(frozen=True)
class Health:
    """``failure`` is empty when every golden case gave its label; otherwise what went wrong, in a sentence."""

    ok: bool
    cases: int
    agreed: int
    failure: str = ""


@dataclass(frozen=True)
class Rollback:
    """``to`` names a release; ``None`` takes the newest confirmed one before the current."""

    to: Optional[str] = None


@dataclass(frozen=True)
class Prune:
    keep: int = 3


@dataclass(frozen=True)
class ReleaseState:
    """``installed`` is the device's clock, seconds since the epoch; ``size`` in bytes; ``name`` is the manifest's."""

    release: str
    name: str
    state: State
    current: bool
    installed: float
    size: int
    artifact: str = ""


@dataclass(frozen=True)
class Status:
    """Releases newest first. ``store_bytes`` is what blobs and runtimes take."""

    releases: Tuple[ReleaseState, ...]
    current: Optional[str] = None
    previous: Optional[str] = None
    store_bytes: int = 0
    disk_free: int = 0


@dataclass(frozen=True)
class Predict:
    texts: Tuple[str, ...]
    top: int = 3


@dataclass(frozen=True)
class Score:
    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """``label`` is an index into the manifest's labels, or of a language model the number of the token it would go on
    with, whose spelling is the label of its score; ``tokens`` counts them after truncation; times in ms of the
    device's clock."""

    text: str
    label: int
    scores: Tuple[Score, ...]
    tokens: int
    bucket: int
    truncated: bool
    ms: float


@dataclass(frozen=True)
class Predictions:
    release: str
    artifact: str
    predictions: Tuple[Prediction, ...]


@dataclass(frozen=True)
class Measure:
    """``artifact`` is described in full, so that one may be measured before any release holds it; its blobs must be in
    the store. ``samples`` is a blob of JSON lines ``{"text", "label"}``; ``labels`` how many answers there are."""

    job: Job
    artifact: Artifact
    samples: Blob
    runtime: str
    labels: int
    timeout_s: float = 3600.0


@dataclass(frozen=True)
class TimeSignatures:
    """Time the runtime's invocation alone, of each model at each of ``lengths``: ``calls`` times, after ``warmup``
    untimed ones, on ``threads`` threads, full of tokens. All models are timed by one process, one after the other."""

    format: Format
    models: Tuple[Blob, ...]
    lengths: Tuple[int, ...]
    runtime: str
    calls: int = 16
    warmup: int = 3
    threads: int = 1
    timeout_s: float = 3600.0


@dataclass(frozen=True)
class Signature:
    """``ms`` of the device's clock, one value a call."""

    model: str
    length: int
    ms: Tuple[float, ...]


@dataclass(frozen=True)
class SignatureTimes:
    """Models by the hash of their file, in the order asked for. ``invalid`` says why the figures are no use."""

    times: Tuple[Signature, ...]
    invalid: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Logs:
    lines: int = 100


@dataclass(frozen=True)
class LogLines:
    lines: Tuple[str, ...]
