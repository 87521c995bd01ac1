"""A language model that generates, over its cache of keys and values; ``edgekit.convert.decoder`` says what it is.

What a format has of its own is how some tokens are computed, and where the cache lies: ``interpreted`` for TFLite,
``onnx``. Needs numpy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Iterable, List, Optional, Sequence, Tuple

from edgekit.errors import DeviceError

#: Of some tokens: logits [vocabulary] of the token after the last, keys and values [heads of all layers, tokens, size].
Rows = Tuple[Any, Any, Any]


class Cached(ABC):
    """Satisfies ``edgekit.agent.runtimes.Generating``. ``names`` are the model's inputs; of a prompt, ``chunk`` tokens
    are read at once."""

    def __init__(self, names: Iterable[str], context: int, chunk: int) -> None:
        import numpy

        self._numpy = numpy
        self._names = tuple(names)
        self._layers = sum(name.startswith("keys_") for name in self._names)
        self._chunk = chunk
        self._logits: Any = None
        self.context = context
        self.rolls = "places" not in self._names
        self.filled = 0

    def feed(self, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), self._chunk):
            part = list(ids[start : start + self._chunk])
            self._take(self._compute(part), len(part))

    def keep(self, tokens: int) -> int:
        if tokens == self.filled:
            return tokens
        # what rolled on has no beginning any more
        kept = 0 if self.rolls else tokens
        self._input("seen")[:, kept:] = 0.0
        self.filled = kept
        return kept

    def saved(self) -> Tuple[Any, int]:
        kept = {name: self._held(name).copy() for name in self._names if name.startswith(("keys_", "values_"))}
        return (self.filled, kept), sum(one.nbytes for one in kept.values())

    def restore(self, saved: Any) -> None:
        self.filled, kept = saved
        self._input("seen")[...] = 0.0
        self._held("seen")[...] = 1.0
        for name, one in kept.items():
            self._held(name)[...] = one

    def _held(self, name: str) -> Any:
        """The part of an input that stands for tokens which were read."""
        count = min(self.filled, self.context)
        places = slice(self.context - count, None) if self.rolls else slice(0, count)
        one = self._input(name)
        return one[:, places] if name.startswith("values_") else one[..., places]

    def likeliest(self, count: Optional[int]) -> Tuple[List[int], List[float]]:
        logits = self._logits
        if count == 1:
            best = int(logits.argmax())
            if logits[best] != logits[best]:
                raise _no_number(logits)
            return [best], [float(logits[best])]
        order = self._order(count)
        return order.tolist(), logits[order].tolist()

    def drawn(self, temperature: float, top_k: Optional[int], top_p: float, chance: float) -> int:
        # in numpy: a vocabulary of tens of thousands takes Python longer than the model takes for the token
        numpy, logits = self._numpy, self._logits.astype(self._numpy.float64)
        most = logits.max()  # no number where one is none
        if not numpy.isfinite(most):
            raise _no_number(logits)
        # which one comes first matters only where the last ones are left out
        order = self._order(top_k) if top_k is not None or top_p < 1.0 else numpy.arange(len(logits))
        sums = numpy.cumsum(numpy.exp((logits[order] - most) / temperature))
        kept = len(sums) if top_p >= 1.0 else int(numpy.searchsorted(sums, top_p * sums[-1])) + 1
        place = int(numpy.searchsorted(sums[:kept], chance * sums[:kept][-1], side="right"))
        return int(order[:kept][min(place, kept - 1)])

    def _order(self, count: Optional[int]) -> Any:
        """The ``count`` likeliest tokens, all where ``None``, the greatest logit first."""
        numpy, logits = self._numpy, self._logits
        chosen = numpy.arange(len(logits))
        if count is not None and count < len(logits):
            least = numpy.partition(logits, -count)[-count]
            chosen = numpy.flatnonzero(logits >= least)
        return chosen[numpy.argsort(-logits[chosen], kind="stable")][:count]

    @abstractmethod
    def _compute(self, ids: List[int]) -> Rows:
        """Read further tokens, at most a chunk of them, over the cache as it is."""

    @abstractmethod
    def _input(self, name: str) -> Any:
        """A part of the cache where it is: what is written there is read next time."""

    def _take(self, rows: Rows, count: int) -> None:
        """Put the rows of ``count`` tokens into the cache, behind the others."""
        self._logits, new_keys, new_values = rows
        start, end = self.filled, self.filled + count
        if self.rolls:
            self._roll(count)
            end = self.context
            start = max(0, end - count)
        kept = slice(count - (end - start), count)
        self._input("seen")[0, start:end] = 1.0
        first = 0
        for layer in range(self._layers):
            keys, values = self._input("keys_{}".format(layer)), self._input("values_{}".format(layer))
            own = slice(first, first + len(keys))
            keys[:, :, start:end] = new_keys[own, kept].transpose(0, 2, 1)
            values[:, start:end] = new_values[own, kept]
            first = own.stop
        self.filled += count

    def _roll(self, count: int) -> None:
        """Make room for ``count`` tokens at the end; the oldest ones fall out."""
        left = max(0, self.context - count)
        for name in self._names:
            if name == "seen" or name.startswith("keys_"):
                one = self._input(name)
                one[..., :left] = one[..., self.context - left :].copy()
            elif name.startswith("values_"):
                one = self._input(name)
                one[:, :left] = one[:, self.context - left :].copy()


def _no_number(logits: Any) -> DeviceError:
    return DeviceError("the model answered no number", given=logits[:4].tolist())


def only_scores(given: str, allowed: str) -> DeviceError:
    """What is said of a file without what generation needs."""
    return DeviceError(
        "this model file was not made to generate",
        given=given,
        allowed=allowed,
        remedy="add 'generation: {context: 512}' below convert in its recipe, build and deploy it again",
    )
