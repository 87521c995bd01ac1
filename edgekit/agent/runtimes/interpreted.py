"""A TFLite language model that generates.

The cache is the input of the file's first signature, ``decode``, and stays there: an interpreter never overwrites an
input, and what a token adds is written into its place. The other signature, ``prefill<N>``, reads up to N tokens at
once; it is given a copy, which is little beside what it computes.
"""

from __future__ import annotations

from typing import Any, Dict, List

from edgekit.agent.runtimes.cached import Cached, Rows, only_scores

DECODE, PREFILL = "decode", "prefill"


class Interpreted(Cached):
    """The interpreter is its own, since it refuses to run as long as anybody else holds a runner of its signatures.
    Raises DeviceError where the file was not made to generate."""

    def __init__(self, interpreter: Any) -> None:
        signatures: List[str] = list(interpreter.get_signature_list())
        if DECODE not in signatures:
            raise only_scores(", ".join(signatures), DECODE)
        self._interpreter = interpreter
        interpreter.allocate_tensors()
        decode = interpreter.get_signature_runner(DECODE)
        # by name, the tensors' places in the first subgraph
        self._inputs: Dict[str, int] = {name: one["index"] for name, one in decode.get_input_details().items()}
        self._outputs: Dict[str, int] = {name: one["index"] for name, one in decode.get_output_details().items()}
        self._prefill_name = next(one for one in signatures if one.startswith(PREFILL))
        context = int(self._input("seen").shape[1])
        super().__init__(self._inputs, context, int(self._prefill_name[len(PREFILL) :]))
        for name in self._inputs:
            # what no token stands for is masked, and must be a number all the same
            self._input(name)[...] = 0

    def _input(self, name: str) -> Any:
        """Nobody may hold it while the interpreter runs."""
        return self._interpreter.tensor(self._inputs[name])()

    def _compute(self, ids: List[int]) -> Rows:
        answer = self._decode(ids[0]) if len(ids) == 1 else self._prefill(ids)
        return answer["logits"][0], answer["new_keys"], answer["new_values"]

    def _decode(self, token: int) -> Dict[str, Any]:
        self._input("input_ids")[0, 0] = token
        if not self.rolls:
            self._input("places")[0] = self.filled
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(one) for name, one in self._outputs.items()}

    def _prefill(self, ids: List[int]) -> Dict[str, Any]:
        numpy, count, length = self._numpy, len(ids), self._chunk
        padded = numpy.zeros((2, 1, length), numpy.int32)
        padded[0, 0, :count], padded[1, 0, :count] = ids, 1
        given = {"input_ids": padded[0], "attention_mask": padded[1]}
        if not self.rolls:
            last = self.filled + count - 1
            given["places"] = numpy.minimum(numpy.arange(self.filled, self.filled + length), last).astype(numpy.int32)
        kept = [name for name in self._inputs if name not in ("input_ids", "places")]
        runner = self._interpreter.get_signature_runner(self._prefill_name)
        answer: Dict[str, Any] = runner(**given, **{name: self._input(name) for name in kept})
        return answer
