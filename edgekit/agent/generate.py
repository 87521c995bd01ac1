"""A loaded language model that writes: prompt → tokens → one further token after the other → text."""

from __future__ import annotations

import time
from typing import Callable, Dict, Generator, List, Optional, Tuple

from edgekit.agent import tasks
from edgekit.agent.pipeline import Tokenizer
from edgekit.agent.runtimes import Generating, generating
from edgekit.agent.sampling import Sampler
from edgekit.agent.spelling import Speller, Stops
from edgekit.errors import DeviceError
from edgekit.spec.manifest import Artifact
from edgekit.spec.progress import Report
from edgekit.spec.wire import Generate, Generated, StoppedBy

#: Where the prompt stands in what was asked: an error there is the asker's.
PROMPT = "$.prompt"
#: Hears each piece of text as it is written.
Tell = Callable[[str], None]
#: Yields what each token brings, which may be nothing; sent True, it comes to its end. Returns what was held back until
#: then, and the whole.
Pieces = Generator[str, Optional[bool], Tuple[str, Generated]]


class Writer:
    """Used by one thread at a time. It keeps what it has read: a prompt that begins as the last text did is read from
    where they part (one whose cache rolls, only if it goes on with all of it)."""

    def __init__(self, tokenizer: Tokenizer, model: Generating) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._read: List[int] = []

    def write(self, asked: Generate, tell: Tell) -> Generated:
        """Go on with a prompt. Raises DeviceError where it is empty or, without a window, longer than the context."""
        pieces = self.pieces(asked)
        found: Optional[Generated] = None
        while found is None:
            try:
                piece = next(pieces)
            except StopIteration as end:
                piece, found = end.value
            if piece:
                tell(piece)
        return found

    def pieces(self, asked: Generate) -> Pieces:
        """Go on with a prompt, token by token. Raises as :meth:`write`, at the first. While another text is written,
        this one cannot go on."""
        prompt = self._prompt(asked)
        sampler = Sampler(asked.temperature, asked.top_k, asked.top_p, asked.seed)
        speller, stops = Speller(self._tokenizer.text), Stops(asked.stop)
        began = time.perf_counter()
        reused = self._begin(prompt)
        token = sampler(self._model)
        prefill_ms = (time.perf_counter() - began) * 1e3
        tokens: List[int] = []
        times: List[float] = []
        pieces: List[str] = []
        stopped: StoppedBy = "end"
        while token != self._tokenizer.end_id:
            tokens.append(token)
            piece, met = stops.add(speller.add(token))
            pieces.append(piece)
            ending = yield piece
            if met:
                stopped = "stop"
                break
            if len(tokens) == asked.max_tokens:
                stopped = "max_tokens"
                break
            if self._full and not asked.window:
                stopped = "context"
                break
            if ending:
                stopped = "time"
                break
            began = time.perf_counter()
            self._go_on(token)
            token = sampler(self._model)
            times.append((time.perf_counter() - began) * 1e3)
        pieces.append(stops.end())
        return pieces[-1], Generated(
            text="".join(pieces),
            tokens=tuple(tokens),
            prompt_tokens=len(prompt),
            reused=reused,
            stopped=stopped,
            prefill_ms=prefill_ms,
            token_ms=tuple(times),
        )

    @property
    def _full(self) -> bool:
        return not self._model.rolls and self._model.filled == self._model.context

    def _prompt(self, asked: Generate) -> List[int]:
        ids = list(self._tokenizer(asked.prompt).ids)
        if ids and ids[-1] == self._tokenizer.end_id:
            ids.pop()  # a tokenizer that ends every text: this one is to go on
        if not ids:
            raise DeviceError(
                "the prompt has no tokens",
                where=PROMPT,
                given=repr(asked.prompt),
                remedy="write how the text begins",
            )
        most = self._model.context
        if self._model.rolls or len(ids) <= most:
            return ids
        if not asked.window:
            raise DeviceError(
                "the prompt is longer than the model's context",
                where=PROMPT,
                given="{} tokens".format(len(ids)),
                allowed="up to {} tokens".format(most),
                remedy="shorten it, or let its oldest tokens fall out: a window (edgekit generate --window)",
            )
        return ids[-(most // 2) :]

    def _begin(self, prompt: List[int]) -> int:
        """Read a prompt; how many of its tokens were known from before. The last one is always read, for its logits."""
        common = 0
        for known, given in zip(self._read, prompt[:-1]):
            if known != given:
                break
            common += 1
        self._read = []
        kept = self._model.keep(common)
        self._model.feed(prompt[kept:])
        self._read = list(prompt)
        return kept

    def _go_on(self, token: int) -> None:
        """Read one more token. Where the context is full, the newest half of the text is read again, at the beginning
        of the table of positions: a text's positions cannot move."""
        if not self._full:
            self._model.feed([token])
            self._read.append(token)
            return
        half = [*self._read, token][-(self._model.context // 2) :]
        self._read = []
        self._model.keep(0)
        self._model.feed(half)
        self._read = half


def check(artifact: Artifact) -> None:
    """Raises DeviceError where the artifact was not made to generate."""
    if not artifact.generates:
        raise DeviceError(
            "the current release was not made to generate",
            given=artifact.name,
            remedy="name convert.generation in a language model's recipe (task: language), build and deploy it",
        )


def load(model: tasks.Model) -> Writer:
    """Tokenizer and model. Raises DeviceError where the runtime, or the file, cannot generate."""
    load_runtime = generating(model.format)
    return Writer(Tokenizer(model.tokenizer, None), load_runtime(model.file, model.threads))


class Writers:
    """The language models that a child process has loaded, and the text it is at."""

    def __init__(self) -> None:
        self._loaded: Dict[tasks.Model, Writer] = {}
        self._pieces: Optional[Pieces] = None

    def write(self, task: tasks.Write, report: Report) -> Generated:
        """Go on with a prompt; the text is told piece by piece."""
        told = 0

        def tell(piece: str) -> None:
            nonlocal told
            told += 1
            report(piece, min(1.0, told / task.asked.max_tokens))

        return self._writer(task, report).write(task.asked, tell)

    def begin(self, task: tasks.Write, report: Report) -> tasks.Piece:
        """The first piece; one that was not written to its end is given up."""
        self._pieces = self._writer(task, report).pieces(task.asked)
        return self._next(None)

    def go_on(self, task: tasks.GoOn, report: Report) -> tasks.Piece:
        """The next piece of the text that was begun."""
        return self._next(True if task.end else None)

    def _next(self, end: Optional[bool]) -> tasks.Piece:
        pieces, self._pieces = self._pieces, None
        if pieces is None:
            raise DeviceError("no text was begun")
        try:
            piece = tasks.Piece(pieces.send(end))
        except StopIteration as ended:
            return tasks.Piece(*ended.value)
        self._pieces = pieces
        return piece

    def _writer(self, task: tasks.Write, report: Report) -> Writer:
        if task.model not in self._loaded:
            report("loading the model", None)
            self._loaded[task.model] = load(task.model)
        return self._loaded[task.model]
