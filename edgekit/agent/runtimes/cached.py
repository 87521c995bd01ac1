"""A TFLite language model that generates, over its cache of keys and values; ``edgekit.convert.decoder`` wrote it.

The cache is the input of the file's first signature, ``decode``, and stays there: an interpreter never overwrites an
input, and what a token adds is written into its place. The other signature, ``prefill<N>``, reads up to N tokens at
once; it is given a copy, which is little beside what it computes. Needs numpy.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from edgekit.errors import DeviceError

DECODE, PREFILL = "decode", "prefill"


class Cached:
    """Satisfies ``edgekit.agent.runtimes.Generating``. The interpreter is its own, since it refuses to run as long as
    anybody else holds a runner of its signatures. Raises DeviceError where the file was not made to generate."""

    def __init__(self, interpreter: Any) -> None:
        import numpy

        signatures: List[str] = list(interpreter.get_signature_list())
        if DECODE not in signatures:
            raise DeviceError(
                "this model file was not made to generate",
                given=", ".join(signatures),
                allowed=DECODE,
                remedy="add 'generation: {context: 512}' below convert in its recipe, build and deploy it again",
            )
        self._numpy = numpy
        self._interpreter = interpreter
        interpreter.allocate_tensors()
        decode = interpreter.get_signature_runner(DECODE)
        # by name, the tensors' places in the first subgraph
        self._inputs: Dict[str, int] = {name: one["index"] for name, one in decode.get_input_details().items()}
        self._outputs: Dict[str, int] = {name: one["index"] for name, one in decode.get_output_details().items()}
        self._layers = sum(name.startswith("keys_") for name in self._inputs)
        self._prefill_name = next(one for one in signatures if one.startswith(PREFILL))
        self._chunk = int(self._prefill_name[len(PREFILL) :])
        self._logits: Any = None
        self.context = int(self._input("seen").shape[1])
        self.rolls = "places" not in self._inputs
        self.filled = 0
        for name in self._inputs:
            # what no token stands for is masked, and must be a number all the same
            self._input(name)[...] = 0

    def feed(self, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), self._chunk):
            part = list(ids[start : start + self._chunk])
            if len(part) == 1:
                self._decode(part[0])
            else:
                self._prefill(part)

    def keep(self, tokens: int) -> int:
        if tokens == self.filled:
            return tokens
        # what rolled on has no beginning any more
        kept = 0 if self.rolls else tokens
        self._input("seen")[:, kept:] = 0.0
        self.filled = kept
        return kept

    def likeliest(self, count: Optional[int]) -> Tuple[List[int], List[float]]:
        numpy, logits = self._numpy, self._logits
        if count == 1:
            best = int(logits.argmax())
            return [best], [float(logits[best])]
        chosen = numpy.arange(len(logits))
        if count is not None and count < len(logits):
            least = numpy.partition(logits, -count)[-count]
            chosen = numpy.flatnonzero(logits >= least)
        order = chosen[numpy.argsort(-logits[chosen], kind="stable")][:count]
        return order.tolist(), logits[order].tolist()

    def _input(self, name: str) -> Any:
        """The tensor where it is. Nobody may hold it while the interpreter runs."""
        return self._interpreter.tensor(self._inputs[name])()

    def _decode(self, token: int) -> None:
        self._input("input_ids")[0, 0] = token
        if not self.rolls:
            self._input("places")[0] = self.filled
        self._interpreter.invoke()
        answer = {name: self._interpreter.get_tensor(one) for name, one in self._outputs.items()}
        self._take(answer, 1)

    def _prefill(self, ids: List[int]) -> None:
        numpy, count, length = self._numpy, len(ids), self._chunk
        padded = numpy.zeros((2, 1, length), numpy.int32)
        padded[0, 0, :count], padded[1, 0, :count] = ids, 1
        given = {"input_ids": padded[0], "attention_mask": padded[1]}
        if not self.rolls:
            last = self.filled + count - 1
            given["places"] = numpy.minimum(numpy.arange(self.filled, self.filled + length), last).astype(numpy.int32)
        kept = [name for name in self._inputs if name not in ("input_ids", "places")]
        runner = self._interpreter.get_signature_runner(self._prefill_name)
        answer = runner(**given, **{name: self._input(name) for name in kept})
        self._take(answer, count)

    def _take(self, answer: Dict[str, Any], count: int) -> None:
        """Put the rows of ``count`` tokens into the cache, behind the others."""
        self._logits = answer["logits"][0]
        start, end = self.filled, self.filled + count
        if self.rolls:
            self._roll(count)
            end = self.context
            start = max(0, end - count)
        rows = slice(count - (end - start), count)
        self._input("seen")[0, start:end] = 1.0
        first = 0
        for layer in range(self._layers):
            keys, values = self._input("keys_{}".format(layer)), self._input("values_{}".format(layer))
            own = slice(first, first + len(keys))
            keys[:, :, start:end] = answer["new_keys"][own, rows].transpose(0, 2, 1)
            values[:, start:end] = answer["new_values"][own, rows]
            first = own.stop
        self.filled += count

    def _roll(self, count: int) -> None:
        """Make room for ``count`` tokens at the end; the oldest ones fall out."""
        left = max(0, self.context - count)
        for name in self._inputs:
            if name == "seen" or name.startswith("keys_"):
                one = self._input(name)
                one[..., :left] = one[..., self.context - left :].copy()
            elif name.startswith("values_"):
                one = self._input(name)
                one[:, :left] = one[:, self.context - left :].copy()
