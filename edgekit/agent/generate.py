"""A loaded language model that writes: prompt → tokens → one further token after the other → text."""

from __future__ import annotations

import math
import time
from typing import Callable, List

from edgekit.agent import tasks
from edgekit.agent.pipeline import Tokenizer
from edgekit.agent.runtimes import Generating, generating
from edgekit.agent.sampling import Sampler
from edgekit.agent.spelling import Speller, Stops
from edgekit.errors import DeviceError
from edgekit.spec.wire import Generate, Generated, StoppedBy

#: Hears each piece of text as it is written.
Tell = Callable[[str], None]


class Writer:
    """Used by one thread at a time. It keeps what it has read: a prompt that begins as the last text did is read from
    where they part (one whose cache rolls, only if it goes on with all of it)."""

    def __init__(self, tokenizer: Tokenizer, model: Generating) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._read: List[int] = []

    def write(self, asked: Generate, tell: Tell) -> Generated:
        """Go on with a prompt. Raises DeviceError where it is empty or, without a window, longer than the context."""
        prompt = self._prompt(asked)
        sampler = Sampler(asked.temperature, asked.top_k, asked.top_p, asked.seed)
        speller, stops = Speller(self._tokenizer.text), Stops(asked.stop)
        began = time.perf_counter()
        reused = self._begin(prompt)
        token = self._next(sampler)
        prefill_ms = (time.perf_counter() - began) * 1e3
        tokens: List[int] = []
        times: List[float] = []
        pieces: List[str] = []

        def passed(piece: str) -> None:
            if piece:
                pieces.append(piece)
                tell(piece)

        stopped: StoppedBy = "end"
        while token != self._tokenizer.end_id:
            tokens.append(token)
            piece, met = stops.add(speller.add(token))
            passed(piece)
            if met:
                stopped = "stop"
                break
            if len(tokens) == asked.max_tokens:
                stopped = "max_tokens"
                break
            if self._full and not asked.window:
                stopped = "context"
                break
            began = time.perf_counter()
            self._go_on(token)
            token = self._next(sampler)
            times.append((time.perf_counter() - began) * 1e3)
        passed(stops.end())
        return Generated(
            text="".join(pieces),
            tokens=tuple(tokens),
            prompt_tokens=len(prompt),
            reused=reused,
            stopped=stopped,
            prefill_ms=prefill_ms,
            token_ms=tuple(times),
        )

    def _next(self, sampler: Sampler) -> int:
        tokens, logits = self._model.likeliest(sampler.count)
        if not tokens or any(math.isnan(one) for one in logits):
            raise DeviceError("the model answered no number", given=logits[:4])
        return sampler(tokens, logits)

    @property
    def _full(self) -> bool:
        return not self._model.rolls and self._model.filled == self._model.context

    def _prompt(self, asked: Generate) -> List[int]:
        ids = list(self._tokenizer(asked.prompt).ids)
        if ids and ids[-1] == self._tokenizer.end_id:
            ids.pop()  # a tokenizer that ends every text: this one is to go on
        if not ids:
            raise DeviceError("the prompt has no tokens", given=repr(asked.prompt), remedy="write how the text begins")
        most = self._model.context
        if self._model.rolls or len(ids) <= most:
            return ids
        if not asked.window:
            raise DeviceError(
                "the prompt is longer than the model's context",
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


def load(model: tasks.Model) -> Writer:
    """Tokenizer and model. Raises DeviceError where the runtime, or the file, cannot generate."""
    load_runtime = generating(model.format)
    return Writer(Tokenizer(model.tokenizer, None), load_runtime(model.file, model.threads))
