"""What a converter really wrote, read back from the file: operators by precision, weights by type, fallbacks.

A precision says how an operator computes:

===================  ======================================================================================
``int8``             int8 in, int8 out
``int8-dynamic``     int8 weights; the activations come as float32 and are turned to int8 at each call
``int8-weights``     weights are stored in int8 and turned to float32 at each call; computed in float32
``int4-dynamic``     as ``int8-dynamic``, two weights a byte
``int4-weights``     as ``int8-weights``, two weights a byte
``float16-weights``  as ``int8-weights``, in half precision
``float32``          all float32
``int32``            whole numbers: token ids, shapes
===================  ======================================================================================

Operators are counted over all signatures of a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from edgekit.convert import flatbuffer
from edgekit.convert.flatbuffer import Operator, Subgraph
from edgekit.spec.manifest import OpCount, Realised

#: Operators that hold weights: float32 weights there are a fallback under every int8 scheme.
_WEIGHTED = {"FULLY_CONNECTED", "EMBEDDING_LOOKUP"}
#: Types that weights are stored in to be turned to float, or to be multiplied with int8.
_STORED = {"int8", "int4", "float16"}
_MOVES = {
    "RESHAPE",
    "TRANSPOSE",
    "SLICE",
    "STRIDED_SLICE",
    "CAST",
    "QUANTIZE",
    "DEQUANTIZE",
    "GATHER",
    "PACK",
    "CONCATENATION",
}
_LAYER_NORM = "layer norm is taken in float: its variance does not survive int8"
_REASONS = {
    "SOFTMAX": "attention weights and their mask are taken in float: int8 steps are too coarse",
    "BATCH_MATMUL": "a product of two activations: turning both to int8 costs more than it saves",
    "GELU": "a table lookup in int8 costs as much and is less exact",
    "TANH": "the pooled output is small: float costs nothing there",
    "MEAN": _LAYER_NORM,
    "SQUARED_DIFFERENCE": _LAYER_NORM,
    "RSQRT": _LAYER_NORM,
    "ADD": "sums of residuals, layer norm and mask are taken in float",
    "SUB": "layer norm and mask are taken in float",
    "MUL": "layer norm and attention scores are taken in float",
}


def tflite(file: Path, scheme: str) -> Realised:
    """Read a .tflite file back. Raises BuildError where it is none."""
    model = flatbuffer.read(file)
    counts = Counter((one.kind, _precision(graph, one)) for graph in model.subgraphs for one in graph.operators)
    sizes: dict[int, tuple[str, int]] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.constant:
                sizes[tensor.buffer] = (tensor.dtype, tensor.size)
    return Realised(
        operators=operator_counts(counts),
        weight_bytes=weight_bytes(sizes.values()),
        fallbacks=_fallbacks(counts, scheme),
    )


def operator_counts(counts: Counter[tuple[str, str]]) -> tuple[OpCount, ...]:
    """Sorted by operator and precision."""
    return tuple(OpCount(kind, precision, number) for (kind, precision), number in sorted(counts.items()))


def weight_bytes(sizes: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Bytes by type; each buffer is to be given once."""
    total: Counter[str] = Counter()
    for dtype, size in sizes:
        total[dtype] += size
    return dict(sorted(total.items()))


def _precision(graph: Subgraph, operator: Operator) -> str:
    tensors = graph.tensors
    results = {tensors[one].dtype for one in operator.outputs}
    stored = {tensors[one].dtype for one in operator.inputs if tensors[one].constant} & _STORED
    if operator.kind in ("QUANTIZE", "DEQUANTIZE"):
        return f"{stored.pop()}-weights" if stored else "int8"
    if "float32" not in results:
        return sorted(results)[0]
    if stored:
        return f"{stored.pop()}-{'weights' if operator.kind == 'EMBEDDING_LOOKUP' else 'dynamic'}"
    stored = _dequantized(graph, operator) if operator.kind in _WEIGHTED else set()
    return f"{stored.pop()}-weights" if stored else "float32"


def _dequantized(graph: Subgraph, operator: Operator) -> set[str]:
    """The types of the operator's constant inputs that are turned to float just before."""
    return {
        graph.tensors[one.inputs[0]].dtype
        for one in graph.operators
        if one.kind == "DEQUANTIZE"
        and graph.tensors[one.inputs[0]].constant
        and set(one.outputs) & set(operator.inputs)
    } & _STORED


def _fallbacks(counts: Counter[tuple[str, str]], scheme: str) -> tuple[str, ...]:
    if scheme == "w32_a32_float":
        return ()
    found = []
    for (kind, precision), number in sorted(counts.items()):
        if scheme == "w8_a8_static" and precision == "int8-dynamic":
            found.append(f"{number} {kind} in int8-dynamic: by name, or because static int8 would lose too much there")
        if precision != "float32" or kind in _MOVES:
            continue
        if kind in _WEIGHTED:
            found.append(f"{number} {kind} in float32: a product of two activations, or kept so by the recipe")
        elif not scheme.endswith(("_weight", "_float")):
            found.append(f"{number} {kind} in float32: {_REASONS.get(kind, 'no int8 form in this scheme')}")
    return tuple(found)
