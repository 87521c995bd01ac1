"""Operator versions of a .tflite file: of each operator the least one that has all that the operator uses.

A runtime loads the versions it knows. One that is stated too high keeps older runtimes out for nothing; one that is
stated too low lets them in to compute something else: tflite-runtime 2.14 takes the first of a weight's scales for all
of them, and answers nonsense. The converter states versions for the float file, and the quantizer leaves them alone.

Source of the rules: TFLite's own versioning, ``tflite/tools/versioning/op_version.cc``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgekit.convert.flatbuffer import kind_of
from edgekit.errors import MissingExtra

try:
    from ai_edge_litert import schema_py_generated as schema
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-litert", "host") from error

_T = schema.TensorType
#: The newest runtime of the format: it reads whatever its own converter writes.
NEWEST = "litert"
#: The greatest version of each operator that an older runtime registers: asked of tflite-runtime 2.14.0's wheel, one
#: operator and version after the other. An operator that is not here is none that edgekit's files have had so far.
READS: dict[str, dict[str, int]] = {
    "tflite": {
        **dict.fromkeys(
            ("COS", "EXPAND_DIMS", "LOGICAL_AND", "LOGICAL_NOT", "NEG", "POW", "RESHAPE", "SELECT", "SHAPE", "SIN"), 1
        ),
        **dict.fromkeys(("CUMSUM", "DYNAMIC_UPDATE_SLICE", "LOG", "ONE_HOT", "SCATTER_ND", "SQRT", "SQUARE"), 1),
        **dict.fromkeys(("DIV", "EXP", "GELU", "LESS_EQUAL", "GREATER", "RANGE", "RSQRT", "SELECT_V2"), 2),
        **dict.fromkeys(("SQUARED_DIFFERENCE", "SQUEEZE", "SUM"), 2),
        **dict.fromkeys(("ARG_MAX", "BROADCAST_TO", "EMBEDDING_LOOKUP", "GREATER_EQUAL", "LESS", "LOGISTIC"), 3),
        **dict.fromkeys(("MEAN", "NOT_EQUAL", "QUANTIZE", "REDUCE_MAX", "RELU", "SOFTMAX", "TANH", "TILE"), 3),
        **dict.fromkeys(("BATCH_MATMUL", "CONCATENATION", "EQUAL", "FILL", "GATHER_ND", "MAXIMUM", "MINIMUM"), 4),
        **dict.fromkeys(("PACK", "PAD", "PADV2", "SPLIT", "UNPACK"), 4),
        **dict.fromkeys(("ABS", "ADD", "CAST", "DEQUANTIZE", "SUB"), 5),
        **dict.fromkeys(("GATHER", "SLICE", "TRANSPOSE"), 6),
        **{"FULLY_CONNECTED": 10, "MUL": 7, "STRIDED_SLICE": 8},
    }
}


def settle(model: Any) -> None:
    """State every operator's version, in place in an unpacked model; codes that nothing uses go."""
    codes: list[Any] = []
    places: dict[tuple[int, bytes | str | None, int], int] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            old = model.operatorCodes[operator.opcodeIndex]
            rule = _RULES.get(kind_of(old))
            version = old.version if rule is None else rule(graph, operator)
            number = max(old.builtinCode, old.deprecatedBuiltinCode)
            key = (number, old.customCode, version)
            if key not in places:
                code = schema.OperatorCodeT()
                code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
                code.customCode, code.version = old.customCode, version
                places[key] = len(codes)
                codes.append(code)
            operator.opcodeIndex = places[key]
    model.operatorCodes = codes


def lacking(content: bytes, runtime: str) -> tuple[str, ...]:
    """What a file asks of a runtime that it does not have, such as ``FULLY_CONNECTED 12``, sorted."""
    if runtime == NEWEST:
        return ()
    known, model = READS[runtime], schema.Model.GetRootAs(content, 0)
    codes = [schema.OperatorCodeT.InitFromObj(model.OperatorCodes(n)) for n in range(model.OperatorCodesLength())]
    return tuple(sorted(f"{kind_of(one)} {one.version}" for one in codes if one.version > known.get(kind_of(one), 0)))


def readers(content: bytes) -> tuple[str, ...]:
    """The runtimes that have all the operators of a file, the newest first."""
    return (NEWEST, *(one for one in sorted(READS) if not lacking(content, one)))


def scales(tensor: Any) -> int:
    """How many scales a tensor has: 0 where it is not quantized. Blocks count as many."""
    found = tensor.quantization
    if found is None:
        return 0
    if isinstance(found.details, schema.BlockwiseQuantizationT):
        return 2
    return 0 if found.scale is None else len(found.scale)


def _tensor(graph: Any, operator: Any, place: int) -> Any:
    return graph.tensors[int(operator.inputs[place])]


def _fully_connected(graph: Any, operator: Any) -> int:
    entering, weight = _tensor(graph, operator, 0), _tensor(graph, operator, 1)
    options = operator.builtinOptions
    hybrid = entering.type == _T.FLOAT32 and weight.type in (_T.INT8, _T.INT4)
    used = [
        (1, True),
        (3, hybrid),
        (4, entering.type == _T.INT8),
        (5, bool(options.keepNumDims)),
        (6, len(operator.inputs) == 2),
        (9, hybrid and bool(options.asymmetricQuantizeInputs)),
        (10, weight.type == _T.INT4),
        # the source has this for int8 weights; int4 ones are read by the same kernel
        (12, hybrid and scales(weight) > 1),
    ]
    return max(version for version, one in used if one)


def _embedding_lookup(graph: Any, operator: Any) -> int:
    table = _tensor(graph, operator, 1)
    return 4 if table.type == _T.INT4 or scales(table) > 1 else 1


def _dequantize(graph: Any, operator: Any) -> int:
    stored = _tensor(graph, operator, 0)
    if stored.type == _T.INT8 and scales(stored) > 1:
        return 5
    return {_T.INT4: 6, _T.FLOAT16: 3, _T.INT16: 3, _T.INT8: 2}.get(stored.type, 1)


def _quantize(graph: Any, operator: Any) -> int:
    result = graph.tensors[int(operator.outputs[0])]
    if result.type == _T.INT4:
        return 4
    return 3 if scales(result) > 1 else 1


def _gather(graph: Any, operator: Any) -> int:
    return {_T.INT4: 7, _T.INT16: 4, _T.BOOL: 3, _T.INT8: 2}.get(_tensor(graph, operator, 0).type, 1)


def _cast(graph: Any, operator: Any) -> int:
    types = {_tensor(graph, operator, 0).type, graph.tensors[int(operator.outputs[0])].type}
    since = {_T.INT4: 6, _T.FLOAT64: 5, _T.FLOAT16: 5, _T.UINT16: 4, _T.INT8: 3, _T.UINT32: 2}
    return max(since.get(one, 1) for one in types)


#: The operators whose version quantization or lowering changes; every other one keeps its converter's.
_RULES: dict[str, Callable[[Any, Any], int]] = {
    "FULLY_CONNECTED": _fully_connected,
    "EMBEDDING_LOOKUP": _embedding_lookup,
    "DEQUANTIZE": _dequantize,
    "QUANTIZE": _quantize,
    "GATHER": _gather,
    "CAST": _cast,
}
