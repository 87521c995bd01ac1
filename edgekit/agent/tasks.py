"""What the agent asks of a child process; the answers are spec values. Paths are whole, files are verified blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from edgekit.spec.scheme import Format
from edgekit.spec.task import CLASSIFY, Task
from edgekit.spec.windows import Windows
from edgekit.spec.wire import Generate, Generated, Prediction, Signature


@dataclass(frozen=True)
class Model:
    """One artifact, ready to load. ``lengths`` are its buckets in tokens, rising; a ``dynamic`` one takes any length up
    to the last of them. Longer texts are read in ``windows``, or cut. Logits are divided by ``temperature``; an answer
    less likely than ``unsure_below`` is unsure. ``task`` is what its answers are; where words are labelled, ``tags``
    are what their logits stand for."""

    format: Format
    file: str
    tokenizer: str
    lengths: Tuple[int, ...]
    threads: int = 1
    dynamic: bool = False
    temperature: float = 1.0
    unsure_below: float = 0.0
    task: Task = CLASSIFY
    tags: Tuple[str, ...] = ()
    windows: Optional[Windows] = None


@dataclass(frozen=True)
class Warm:
    """Import a format's runtime once, so that its bytecode is cached before anything is timed."""

    format: Format


@dataclass(frozen=True)
class Timing:
    """Time the first ``count`` texts of ``samples`` (JSON lines) after ``warmup`` untimed ones."""

    model: Model
    samples: str
    count: int
    warmup: int
    pad_to: Optional[int] = None


@dataclass(frozen=True)
class Bare:
    """Time ``calls`` bare invocations of each of ``files`` at each of ``lengths``, after ``warmup`` untimed ones."""

    format: Format
    files: Tuple[str, ...]
    lengths: Tuple[int, ...]
    threads: int
    calls: int
    warmup: int


@dataclass(frozen=True)
class BareTimes:
    times: Tuple[Signature, ...]


@dataclass(frozen=True)
class Check:
    """Run the golden cases of ``golden`` (JSON lines)."""

    model: Model
    golden: str


@dataclass(frozen=True)
class Ask:
    """Answer texts with the ``top`` likeliest of ``labels``, or of the tokens where there are none. The model stays
    loaded for the next question."""

    model: Model
    texts: Tuple[str, ...]
    labels: Tuple[str, ...]
    top: int


@dataclass(frozen=True)
class Follow:
    """Read the next ``text`` of ``stream``, and tell the ``top`` likeliest of ``labels`` of all that it said so far.
    ``after`` so many tokens, where the asker knows; at its ``end`` it is forgotten."""

    model: Model
    stream: str
    text: str
    labels: Tuple[str, ...]
    top: int
    after: Optional[int] = None
    end: bool = False


@dataclass(frozen=True)
class Write:
    """Go on with a prompt. Each piece of text is a progress reply's message, its fraction that of ``max_tokens``. Model
    and cache stay for the next one."""

    model: Model
    asked: Generate


@dataclass(frozen=True)
class GoOn:
    """Write the next token of the text that was begun, or with ``end`` none any more."""

    end: bool = False


@dataclass(frozen=True)
class Piece:
    """What one token brought of the text, which may be nothing. After the last one, what was held back until then, and
    what was ``written`` in all."""

    text: str = ""
    written: Optional[Generated] = None


@dataclass(frozen=True)
class Answers:
    predictions: Tuple[Prediction, ...]
