"""A loaded classifier that follows streams: a text, then what comes after it, and what it is all about by then.

What a stream's tokens left behind in the cache of keys and values is kept, so that a further text costs its own tokens
alone, however long the stream is. One stream lies in the model at a time; the others are copies, the longest unused of
which is forgotten where they take too much memory.
"""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

from edgekit.agent import pipeline, tasks
from edgekit.agent.runtimes import Generating, generating
from edgekit.errors import DeviceError
from edgekit.spec.manifest import Artifact
from edgekit.spec.progress import Report
from edgekit.spec.wire import Prediction, Score

#: Where it stands in what was asked how far the stream was: the asker is behind, or ahead.
AFTER = "$.after"
STREAM = "$.stream"
#: Bytes of streams that wait.
ROOM = 64 << 20
#: What a stream takes beside its keys and values, about.
BESIDE = 4096
#: Tokens in one text: so many a slow board reads before it is taken for one that hangs.
LONGEST = 512


@dataclass
class _Stream:
    """``read`` tokens in all, the last of them in ``recent``; ``kept`` of it while another one lies in the model."""

    read: int = 0
    recent: List[int] = field(default_factory=list)
    kept: Any = None
    size: int = 0


class Follower:
    """Used by one thread at a time. ``room`` bounds the memory of the streams that wait, in bytes."""

    def __init__(self, tokenizer: pipeline.Tokenizer, model: Generating, room: int = ROOM) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._room = room
        #: The one in the model is the last.
        self._streams: "OrderedDict[str, _Stream]" = OrderedDict()
        self._inside: Optional[str] = None

    def follow(self, asked: tasks.Follow) -> Prediction:
        """Read a stream's next text. Raises DeviceError where it has no tokens, or too many, or where the stream is not
        where the asker believes it to be: it was forgotten, or another one reads it, too."""
        began = time.perf_counter()
        ids = list(self._tokenizer(asked.text).ids)
        if not ids:
            raise DeviceError("the text has no tokens", where="$.text", given=repr(asked.text))
        if len(ids) > LONGEST:
            raise DeviceError(
                "the text is too long to be read at once",
                where="$.text",
                given="{} tokens".format(len(ids)),
                allowed="up to {} tokens".format(LONGEST),
                remedy="send it in parts: a stream is read one after the other",
            )
        known = self._streams[asked.stream].read if asked.stream in self._streams else 0
        if asked.after is not None and asked.after != known:
            raise DeviceError(
                "the stream is not where it is believed to be" if known else "this stream is not known any more",
                where=AFTER,
                given=asked.after,
                allowed=known,
                remedy="begin it again: send what it said so far, after 0 tokens, under another name",
            )
        stream = self._enter(asked.stream)
        try:
            self._read(stream, ids)
            logits = self._logits()
        except BaseException:
            # what it has read is uncertain
            self._forget(asked.stream)
            raise
        if asked.end:
            self._forget(asked.stream)
        probabilities = pipeline.softmax(logits, asked.model.temperature)
        best = heapq.nlargest(max(asked.top, 1), range(len(logits)), key=probabilities.__getitem__)
        return Prediction(
            text=asked.text,
            label=best[0],
            scores=tuple(Score(asked.labels[one], probabilities[one]) for one in best),
            tokens=len(ids),
            bucket=self._model.context,
            truncated=False,
            ms=(time.perf_counter() - began) * 1e3,
            unsure=probabilities[best[0]] < asked.model.unsure_below,
            read=stream.read,
        )

    def _logits(self) -> List[float]:
        classes, logits = self._model.likeliest(None)
        pipeline.argmax(logits)
        return [one for _, one in sorted(zip(classes, logits))]

    def _enter(self, name: str) -> _Stream:
        """Have the stream in the model, and the one that was there put away."""
        if self._inside != name:
            if self._inside is not None:
                left = self._streams[self._inside]
                left.kept, taken = self._model.saved()
                left.size = taken + BESIDE
            self._inside = None
            stream = self._streams.setdefault(name, _Stream())
            if stream.kept is None:
                self._model.keep(0)
            else:
                self._model.restore(stream.kept)
            stream.kept, stream.size = None, 0
            self._inside = name
        self._streams.move_to_end(name)
        while sum(one.size for one in self._streams.values()) > self._room:
            self._streams.popitem(last=False)
        return self._streams[name]

    def _read(self, stream: _Stream, ids: Sequence[int]) -> None:
        """All of it. Where the context is full, the newest half of the stream is read again, at the beginning of the
        table of positions: a text's positions cannot move."""
        model, left = self._model, list(ids)
        half = model.context // 2
        while left:
            room = len(left) if model.rolls else model.context - model.filled
            if not room:
                model.keep(0)
                model.feed(stream.recent)
                continue
            part, left = left[:room], left[room:]
            model.feed(part)
            stream.recent = [*stream.recent, *part][-half:]
            stream.read += len(part)

    def _forget(self, name: str) -> None:
        self._streams.pop(name, None)
        if self._inside == name:
            self._inside = None


def check(artifact: Artifact) -> None:
    """Raises DeviceError where the artifact was not made to follow streams."""
    if not artifact.follows:
        raise DeviceError(
            "the current release was not made to follow a stream",
            where=STREAM,
            given=artifact.name,
            remedy="name convert.generation in the recipe of a classifier that looks back only (gpt2, transformer-xl)",
        )


def load(model: tasks.Model) -> Follower:
    """Tokenizer and model. Raises DeviceError where the runtime, or the file, keeps nothing."""
    load_runtime = generating(model.format)
    return Follower(pipeline.Tokenizer(model.tokenizer, None), load_runtime(model.file, model.threads))


class Followers:
    """The classifiers that a child process has loaded to follow streams."""

    def __init__(self) -> None:
        self._loaded: Dict[Tuple[str, str], Follower] = {}

    def follow(self, task: tasks.Follow, report: Report) -> Prediction:
        """A stream's next text."""
        key = (task.model.file, task.model.tokenizer)
        if key not in self._loaded:
            report("loading the model", None)
            self._loaded[key] = load(task.model)
        return self._loaded[key].follow(task)
