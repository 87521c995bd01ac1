"""What stands in an .onnx file: operators by precision, weights by type, and what stayed float (see ``realised``)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgekit.convert import realised as common
from edgekit.convert.onnx_integers import PRODUCTS
from edgekit.errors import MissingExtra
from edgekit.spec.manifest import Realised

try:
    import numpy as np
    from onnx import TensorProto, helper
except ImportError as error:
    raise MissingExtra(error.name or "onnx", "onnx") from error

FLOAT = "w32_a32_float"
#: Why what computes in float32 does so, in a scheme of integers.
_REASONS = {
    "MatMul": "a product of two activations, or kept so by the recipe",
    "Gemm": "kept so by the recipe",
    "Gather": "its table is read by a product in float32 as well",
    "Softmax": "attention weights and their mask are taken in float: int8 steps are too coarse",
    "LayerNormalization": "layer norm is taken in float: its variance does not survive int8",
    "Gelu": "the runtime has no int8 form of it",
    "Tanh": "the pooled output is small: float costs nothing there",
    "Relu": "it reads what a product gives in float32",
    "Add": "sums of biases, residuals and mask are taken in float",
    "Sub": "the mask is taken in float",
    "Mul": "scales are taken in float",
    "Div": "scales are taken in float",
}
_STORED = {TensorProto.INT8: "int8", TensorProto.FLOAT16: "float16"}


def realised(model: Any, scheme: str) -> Realised:
    """Read back from the model itself."""
    constants = {one.name: one for one in model.graph.initializer}
    makers = {name: one for one in model.graph.node for name in one.output}
    counts: Counter[tuple[str, str]] = Counter()
    for node in model.graph.node:
        precision = _precision(node, makers, constants)
        if precision is not None:
            counts[node.op_type, precision] += 1
    sizes = [
        (kind.name, int(np.prod(one.dims)) * kind.itemsize)
        for one in constants.values()
        for kind in [np.dtype(helper.tensor_dtype_to_np_dtype(one.data_type))]
    ]
    return Realised(common.operator_counts(counts), common.weight_bytes(sizes), _fallbacks(counts, scheme))


def _precision(node: Any, makers: dict[str, Any], constants: dict[str, Any]) -> str | None:
    """How a node computes; None for one that moves data, or belongs to another that is told."""
    if node.op_type in PRODUCTS:
        given = makers.get(node.input[0])
        if given is not None and given.op_type == "DequantizeLinear":
            rounded = makers[given.input[0]]
            divided = makers.get(rounded.input[0])
            return "int8-dynamic" if divided is not None and divided.op_type == "Div" else "int8"
        stored = _stored(node.input[1], makers, constants)
        return f"{stored}-weights" if stored else "float32"
    if node.op_type == "Gather":
        table = constants.get(node.input[0])
        if table is None or len(table.dims) != 2 or table.dims[1] == 1:
            return None
        return f"{_STORED[table.data_type]}-weights" if table.data_type in _STORED else "float32"
    if node.op_type == "Mul" and _stored(node.output[0], makers, constants):
        return None
    return "float32" if node.op_type in _REASONS else None


def _stored(name: str, makers: dict[str, Any], constants: dict[str, Any]) -> str | None:
    """The type of the constant that ``name`` is turned to float from, through nothing but constants."""
    while name in makers and makers[name].op_type in ("Cast", "Mul", "Transpose"):
        name = makers[name].input[0]
    return _STORED.get(constants[name].data_type) if name in constants else None


def _fallbacks(counts: Counter[tuple[str, str]], scheme: str) -> tuple[str, ...]:
    found = []
    for (kind, precision), number in sorted(counts.items()):
        if scheme == "w8_a8_static" and precision == "int8-dynamic":
            found.append(f"{number} {kind} in int8-dynamic: by name, or because static int8 would lose too much there")
        if kind in PRODUCTS and precision == "int8-weights" and not scheme.endswith("_weight"):
            found.append(f"{number} {kind} in int8-weights: made once a text, where int8 would save nothing")
        weighted = kind in (*PRODUCTS, "Gather")
        if precision == "float32" and scheme != FLOAT and (weighted or not scheme.endswith(("_weight", "_float"))):
            found.append(f"{number} {kind} in float32: {_REASONS[kind]}")
    return tuple(found)
