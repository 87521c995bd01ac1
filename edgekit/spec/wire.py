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
``settle``      :class:`Settle`                            how a release's runtime works from now on
``prune``       :class:`Prune`                             :class:`Status` after it
``predict``     :class:`Predict`                           :class:`Predictions`
``generate``    :class:`Generate`                          :class:`Generated`; the text comes as progress, in pieces
``measure``     :class:`Measure`                           ``edgekit.spec.result.Run``
``signatures``  :class:`TimeSignatures`                    :class:`SignatureTimes`: bare invocations, for tables
``service``     ``edgekit.spec.service.Manage``            :class:`Status` after it
``logs``        :class:`Logs`                              :class:`LogLines`
==============  =========================================  ==================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least, within
from edgekit.spec.manifest import Artifact, Blob
from edgekit.spec.result import Job
from edgekit.spec.scheme import Format
from edgekit.spec.service import ServiceState
from edgekit.spec.setting import Setting

PROTOCOL = 1
#: The folder of a runtime whose shared libraries the loader finds by their names: those of packages that are no wheels.
LIBRARIES = "edgekit.libs"
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
class Settle:
    """From now on ``release`` runs by this ``setting``."""

    release: str
    setting: Setting


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
    """``installed`` is the device's clock, seconds since the epoch; ``size`` in bytes; ``name`` is the manifest's;
    ``setting`` is how its runtime works, ``memory`` its artifact's estimate in bytes, where that has one."""

    release: str
    name: str
    state: State
    current: bool
    installed: float
    size: int
    artifact: str = ""
    setting: Setting = field(default_factory=Setting)
    memory: Optional[int] = None


@dataclass(frozen=True)
class Status:
    """Releases newest first. ``store_bytes`` is what blobs and runtimes take; ``service`` is ``None`` where none is
    installed."""

    releases: Tuple[ReleaseState, ...]
    current: Optional[str] = None
    previous: Optional[str] = None
    store_bytes: int = 0
    disk_free: int = 0
    service: Optional[ServiceState] = None


@dataclass(frozen=True)
class Predict:
    texts: Tuple[str, ...]
    top: int = 3


@dataclass(frozen=True)
class Score:
    label: str
    probability: float


@dataclass(frozen=True)
class FoundSpan:
    """The characters of the text as it was given, from ``start`` to before ``end``, which read ``text`` there and are a
    ``label``. ``score`` is the probability of the least likely tag among its words'. ``unsure``: it is less likely than
    the bundle asks of a span that is to be believed."""

    start: int
    end: int
    label: str
    text: str
    score: float
    unsure: bool = False


@dataclass(frozen=True)
class Prediction:
    """``label`` is an index into the manifest's labels, or of a language model the number of the token it would go on
    with, whose spelling is the label of its score; ``tokens`` counts them after truncation, in all ``windows`` that the
    text was read in; times in ms of the device's clock. ``unsure``: it is less likely than the bundle asks of an answer
    that is to be believed. Where words are labelled there are ``spans`` instead of scores, ``label`` is how many, and
    one that is unsure makes it so. Where texts are embedded there is the ``embedding``, of length 1, instead; ``label``
    is 0. Of a stream, ``read`` counts the tokens that it had until then, and it is all that answers."""

    text: str
    label: int
    scores: Tuple[Score, ...]
    tokens: int
    bucket: int
    truncated: bool
    ms: float
    unsure: bool = False
    spans: Optional[Tuple[FoundSpan, ...]] = None
    embedding: Optional[Tuple[float, ...]] = None
    windows: int = 1
    read: Optional[int] = None


@dataclass(frozen=True)
class Predictions:
    """``handed`` are the places of those answers that another service gave, this release being unsure."""

    release: str
    artifact: str
    predictions: Tuple[Prediction, ...]
    handed: Tuple[int, ...] = ()


@dataclass(frozen=True)
class Generate:
    """Go on with ``prompt`` for up to ``max_tokens`` tokens, or until one of the texts ``stop`` comes, which is left
    out. ``temperature`` 0 takes the likeliest token each time; above, one is drawn among the ``top_k`` likeliest (all,
    where left out), of those among the fewest that together reach the probability ``top_p``, by ``seed``. ``window``
    lets the oldest tokens fall out of a text that is longer than the model's context.

    While it is written, each progress reply with a ``fraction`` carries the next piece of text as its ``message``.
    """

    prompt: str
    max_tokens: int = 64
    temperature: float = 0.0
    top_k: Optional[int] = None
    top_p: float = 1.0
    seed: int = 0
    stop: Tuple[str, ...] = ()
    window: bool = False

    def __post_init__(self) -> None:
        at_least(self.max_tokens, 1, "max_tokens")
        within(self.temperature, 0.0, 100.0, "temperature")
        within(self.top_p, 0.0, 1.0, "top_p")
        if self.top_k is not None:
            at_least(self.top_k, 1, "top_k")
        if not all(self.stop):
            raise SpecError("a stop word is empty", where="$.stop", given=list(self.stop), remedy="leave it out")
        if self.temperature == 0.0 and (self.top_k is not None or self.top_p != 1.0):
            raise SpecError(
                "at temperature 0 the likeliest token is taken, and none is drawn",
                where="$.temperature",
                given="temperature 0 with top_k or top_p",
                remedy="give a temperature above 0, as 0.8; or leave top_k and top_p out",
            )


StoppedBy = Literal["end", "stop", "max_tokens", "context", "time"]


@dataclass(frozen=True)
class Generated:
    """``text`` and ``tokens`` go on with the prompt, of whose ``prompt_tokens`` the cache still held ``reused``.
    ``stopped`` by the model's own ``end`` token, a ``stop`` word, because there was no more room in ``max_tokens`` or
    the ``context``, or because a service gave it no more ``time``. ``prefill_ms`` is reading the prompt and choosing
    the first token, ``token_ms`` the same of each further one, on the device's clock."""

    text: str
    tokens: Tuple[int, ...]
    prompt_tokens: int
    reused: int
    stopped: StoppedBy
    prefill_ms: float
    token_ms: Tuple[float, ...]
    release: str = ""
    artifact: str = ""


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
