"""The service: what a client posts, how a device is asked to run it, and what it says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least, within

#: Texts in one question, labels in one answer: the service's own memory is bounded by them.
MOST_TEXTS, MOST_TOP = 256, 100


#: Characters of a stream's name.
LONGEST_NAME = 128


@dataclass(frozen=True)
class Following:
    """The next ``text`` of ``stream``, as of a :class:`Question`."""

    stream: str
    text: str
    top: int
    after: Optional[int] = None
    end: bool = False


@dataclass(frozen=True)
class Question:
    """The body of ``POST /predict``: one ``text`` or several ``texts``, and how many labels an answer shall have,
    ``top``: next tokens of a language model; spans and embeddings are always whole. It is answered by
    ``edgekit.spec.wire.Predictions``. With ``stream``, a name, ``text`` goes on with what was said under that name
    before, and it is all that answers; ``after`` so many tokens, or the question is refused, and with ``end`` the
    stream is forgotten."""

    text: Optional[str] = None
    texts: Optional[Tuple[str, ...]] = None
    top: int = 3
    stream: Optional[str] = None
    after: Optional[int] = None
    end: bool = False

    def __post_init__(self) -> None:
        if (self.text is None) == (self.texts is None):
            raise SpecError("one text or several", where="$", allowed='"text": "…" or "texts": ["…", …]')
        if self.stream is None and (self.after is not None or self.end):
            raise SpecError("after and end are of a stream", where="$", allowed='"stream": "NAME"')
        if self.stream is not None:
            if self.texts is not None:
                raise SpecError("a stream goes on text by text", where="$.texts", allowed='"text": "…"')
            within(len(self.stream), 1, LONGEST_NAME, "stream")
            check_characters(self.stream, "$.stream")
        if self.after is not None:
            at_least(self.after, 0, "after")
        within(len(self.all), 1, MOST_TEXTS, "texts")
        within(self.top, 1, MOST_TOP, "top")
        for number, one in enumerate(self.all):
            check_text(one, "$.text" if self.texts is None else "$.texts[{}]".format(number))

    @property
    def following(self) -> Optional[Following]:
        """What goes on with a stream; ``None`` where these are texts by themselves."""
        if self.stream is None:
            return None
        return Following(self.stream, self.text or "", self.top, self.after, self.end)

    @property
    def all(self) -> Tuple[str, ...]:
        return self.texts if self.texts is not None else (self.text or "",)


def check_text(text: str, path: str) -> None:
    """Raises SpecError for a text that is empty, or cannot be written as UTF-8."""
    if not text.strip():
        raise SpecError("a text is empty", where=path)
    check_characters(text, path)


def check_characters(text: str, path: str) -> None:
    """Raises SpecError for a text that cannot be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SpecError("half of a surrogate pair is no character", where=path) from error


@dataclass(frozen=True)
class Options:
    """How the service runs. It listens on a Unix socket that only its user may open: ``socket``, below the agent's root
    where that is empty; and on ``listen``, ``host:port``, where that is not. ``token_file`` holds the bearer token that
    callers by ``listen`` must show; without one only this machine is listened to. ``queue`` texts may wait, ``batch``
    of them are handed to the runtime at once, ``cache`` bytes of answers are kept, ``body`` bytes may be posted,
    ``connections`` may be open, the last quarter of them by the Unix socket alone. ``prompts`` may wait to be gone on
    with, each for ``writing`` seconds at most, so that the next one's turn comes. A ``spare`` process (1, or 0 for
    none) has imported the runtime already and waits for the one that answers to die: it takes what importing that takes
    (25 MB with LiteRT), and spares the second of its start."""

    socket: str = ""
    listen: str = ""
    token_file: str = ""
    queue: int = 512
    batch: int = 16
    cache: int = 4 << 20
    body: int = 256 << 10
    connections: int = 64
    prompts: int = 8
    writing: int = 60
    spare: int = 1

    def __post_init__(self) -> None:
        within(self.queue, MOST_TEXTS, 1 << 16, "queue")
        within(self.batch, 1, MOST_TEXTS, "batch")
        within(self.cache, 0, 1 << 30, "cache")
        within(self.body, 1 << 10, 16 << 20, "body")
        within(self.connections, 1, 512, "connections")
        within(self.prompts, 1, 512, "prompts")
        within(self.writing, 1, 3600, "writing")
        within(self.spare, 0, 1, "spare")


@dataclass(frozen=True)
class Manage:
    """Arguments of the operation ``service``: what ``action`` is to be done. ``check`` fails where ``install`` would;
    that writes the systemd unit with these ``options`` and starts it. ``memory_max`` bounds its memory, in bytes, 0 not
    at all. ``token`` is written to a file that only its user may read, and asked of callers by ``options.listen``."""

    action: Literal["check", "install", "remove"]
    options: Options = Options()
    memory_max: int = 0
    token: Optional[str] = None


@dataclass(frozen=True)
class Answering:
    """What a running service says of itself: ``GET /health``. ``ok`` means that it answers; ``failure`` why it does
    not. Counted since it started: ``requests`` by clients, ``hits`` and ``misses`` of its cache, ``restarts`` of the
    runtime, which is process ``runtime`` now. ``waiting`` texts are in the queue, ``uptime`` in seconds."""

    ok: bool
    release: str = ""
    artifact: str = ""
    failure: str = ""
    requests: int = 0
    hits: int = 0
    misses: int = 0
    restarts: int = 0
    runtime: int = 0
    waiting: int = 0
    uptime: float = 0.0


@dataclass(frozen=True)
class ServiceState:
    """``unit`` is the unit's file and ``scope`` whose it is; ``active`` is systemd's word (``active``, ``failed``, …).
    ``socket`` and ``listen`` say where it can be asked, ``answering`` what it said, ``None`` where it is silent.
    ``notes`` is what the user should know, in sentences."""

    unit: str
    scope: Literal["system", "user"]
    active: str
    socket: str
    listen: str = ""
    answering: Optional[Answering] = None
    notes: Tuple[str, ...] = ()
