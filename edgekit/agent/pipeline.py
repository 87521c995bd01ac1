"""Text → tokens → the least length of the model that holds them → the runtime → label."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

from edgekit.agent.runtimes import Runner
from edgekit.errors import DeviceError
from edgekit.spec.text import Cleaned, aligned, clean
from edgekit.spec.windows import Windows
from edgekit.spec.words import Word, words_of

_PAD_TOKENS = ("[PAD]", "<pad>")
#: What ends a text, by the names that tokenizers have for it.
_END_TOKENS = ("<|endoftext|>", "</s>", "<eos>", "[SEP]")


@dataclass(frozen=True)
class Tokens:
    """``ids`` of what fits into the largest bucket, not padded, and those of ``further`` windows; ``words`` in the text
    as it was given, where they are asked for. ``truncated``: there was more."""

    ids: Tuple[int, ...]
    truncated: bool
    further: Tuple[Tuple[int, ...], ...] = ()
    words: Tuple[Word, ...] = ()

    @property
    def windows(self) -> Tuple[Tuple[int, ...], ...]:
        """All of them, the first one first."""
        return (self.ids, *self.further)


@dataclass(frozen=True)
class Outcome:
    """``model_ms`` is the runtime's invocation alone, in ms of the device's clock."""

    logits: Tuple[float, ...]
    label: int
    bucket: int
    model_ms: float


class Tokenizer:
    """A tokenizer.json; texts are cut to ``limit`` tokens, if any, on the side that the file names, or into ``windows``
    of so many, from the other side on; padding is done here, by bucket. Texts are cleaned as those that the model
    learned from. With ``words``, those of a text are told as well. Needs the ``tokenizers`` wheel."""

    def __init__(
        self, file: str, limit: Optional[int], windows: Optional[Windows] = None, *, words: bool = False
    ) -> None:
        import tokenizers

        self._words = words

        self._tokenizer = tokenizers.Tokenizer.from_file(file)
        self.pad_id = _pad_id(self._tokenizer)
        self._tokenizer.no_padding()
        own = self._tokenizer.truncation
        if limit is None:
            self._tokenizer.no_truncation()
        else:
            overlap = windows.overlap if windows else 0
            side = own["direction"] if own else "right"
            self._tokenizer.enable_truncation(max_length=limit, stride=overlap, direction=side)
        self._further = windows.most - 1 if windows else 0
        known = (self._tokenizer.token_to_id(one) for one in _END_TOKENS)
        #: What ends a text; ``None`` where the tokenizer knows nothing of the kind.
        self.end_id: Optional[int] = next((one for one in known if one is not None), None)

    def __call__(self, text: str) -> Tokens:
        if self._words:
            return self._with_words(aligned(text))
        encoding = self._tokenizer.encode(clean(text))
        rest = encoding.overflowing
        further = tuple(tuple(one.ids) for one in rest[: self._further])
        return Tokens(tuple(encoding.ids), len(rest) > len(further), further)

    def _with_words(self, cleaned: Cleaned) -> Tokens:
        encoding = self._tokenizer.encode(cleaned.text)
        words = words_of(encoding, cleaned.text)
        there = tuple(Word(one.token, *cleaned.given(one.start, one.end)) for one in words)
        return Tokens(tuple(encoding.ids), bool(encoding.overflowing), words=there)

    def text(self, ids: Sequence[int]) -> str:
        """How a run of tokens is written, without special ones; U+FFFD stands for bytes that are no character."""
        return str(self._tokenizer.decode(list(ids)))

    def spelled(self, number: int) -> str:
        """How a token is written; a piece of a character, which is no text by itself, by its name."""
        text = str(self._tokenizer.decode([number], skip_special_tokens=False))
        return str(self._tokenizer.id_to_token(number)) if not text or "\ufffd" in text else text


def _pad_id(tokenizer: Any) -> int:
    """The id of the padding token, by name: a trimmed vocabulary has it elsewhere than the original. A tokenizer
    without one (GPT-2's) pads with token 0, as parity checks do: the mask hides whatever stands there."""
    padding = tokenizer.padding
    names = ((padding["pad_token"],) if padding else ()) + _PAD_TOKENS
    for name in names:
        found = tokenizer.token_to_id(name)
        if found is not None:
            return int(found)
    return 0


def bucket(tokens: int, lengths: Sequence[int], pad_to: Optional[int] = None, dynamic: bool = False) -> int:
    """The least of the rising ``lengths`` to hold ``tokens``, of a ``dynamic`` model ``tokens`` itself (1 for none), or
    ``pad_to`` where forced. Else DeviceError."""
    if dynamic and pad_to is None and tokens <= lengths[-1]:
        return max(tokens, 1)
    allowed = lengths if pad_to is None else [one for one in lengths if one == pad_to]
    for one in allowed:
        if tokens <= one:
            return one
    raise DeviceError("no length of the model holds this text", given=pad_to or tokens, allowed=lengths)


def infer(runner: Runner, ids: Sequence[int], length: int, pad_id: int) -> Outcome:
    """Pad to ``length`` and run."""
    count = len(ids)
    mask = [1] * count + [0] * (length - count)
    padded = list(ids) + [pad_id] * (length - count)
    began = time.perf_counter()
    logits = runner.run(length, padded, mask)
    ended = time.perf_counter()
    return Outcome(tuple(logits), argmax(logits), length, (ended - began) * 1e3)


def joined(outcomes: Sequence[Outcome], tokens: Sequence[int]) -> Outcome:
    """Of a text's windows: the mean of their logits, each window's by its ``tokens``. ``bucket`` is the longest."""
    whole = sum(tokens)
    logits = tuple(
        math.fsum(one * count for one, count in zip(each, tokens)) / whole
        for each in zip(*(one.logits for one in outcomes))
    )
    spent = math.fsum(one.model_ms for one in outcomes)
    return Outcome(logits, argmax(logits), max(one.bucket for one in outcomes), spent)


def argmax(values: Sequence[float]) -> int:
    """The index of the greatest value, the first of equals. DeviceError for NaN, which no label stands for."""
    # the sum first: it is no number where one is none, and there may be a vocabulary of them
    if not values or (math.isnan(sum(values)) and any(math.isnan(one) for one in values)):
        raise DeviceError("the model answered no number", given=list(values)[:4])
    return values.index(max(values))


def softmax(logits: Sequence[float], temperature: float = 1.0) -> List[float]:
    """Probabilities of ``logits / temperature``; shifted by the greatest one so that nothing overflows."""
    top = max(logits)
    powers = [math.exp((one - top) / temperature) for one in logits]
    total = math.fsum(powers)
    return [one / total for one in powers]
