"""A .tflite file for an older runtime: operators that it lacks, written as several that it has.

tflite-runtime 2.14 knows weights with one scale a channel in static products only. The integers stay as they are:

=====================  ==========================================================================================
int8 rows, a scale     the rows picked as they are (GATHER), turned to float (CAST) and multiplied (MUL) with
each, looked up        their scales, which are picked as well
float · int8 weights,  the product with one scale of 1 for all (FULLY_CONNECTED), which turns activations to int8
a scale a channel      as before, multiplied (MUL) with the scales; the bias and what is fused comes after (ADD)
=====================  ==========================================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.convert import lean, versions
from edgekit.convert.flatbuffer import kind_of
from edgekit.errors import MissingExtra

try:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-litert", "host") from error

_T, _Options, _NONE = schema.TensorType, schema.BuiltinOptions, schema.ActivationFunctionType.NONE


def lower(content: bytes) -> bytes:
    """The same function; what has no older form stays as it is (see ``versions.lacking``)."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for graph in model.subgraphs:
        writer = _Writer(model, graph)
        for operator in graph.operators:
            writer.write(operator)
        graph.operators = writer.operators
    lean.drop_unused(model)
    return lean.pack(model)


class _Writer:
    """Writes a subgraph's operators anew, one after the other."""

    def __init__(self, model: Any, graph: Any) -> None:
        self.model, self.graph = model, graph
        self.operators: list[Any] = []

    def write(self, operator: Any) -> None:
        kind = kind_of(self.model.operatorCodes[operator.opcodeIndex])
        if kind == "EMBEDDING_LOOKUP" and self._in_channels(operator.inputs[1]):
            self._look_up(operator)
        elif kind == "FULLY_CONNECTED" and self._in_channels(operator.inputs[1]) and self._hybrid(operator):
            self._multiply(operator)
        else:
            self.operators.append(operator)

    def _in_channels(self, place: int) -> bool:
        tensor = self.graph.tensors[int(place)]
        return bool(
            tensor.type == _T.INT8 and versions.scales(tensor) > 1 and not tensor.quantization.quantizedDimension
        )

    def _hybrid(self, operator: Any) -> bool:
        return bool(self.graph.tensors[int(operator.inputs[0])].type == _T.FLOAT32)

    def _look_up(self, operator: Any) -> None:
        ids, table = (int(one) for one in operator.inputs)
        stored = self.graph.tensors[table]
        rows, width = (int(one) for one in stored.shape)
        picked = [int(one) for one in self.graph.tensors[ids].shape]
        whole = self._tensor([rows, width], _T.INT8, stored.buffer)
        scales = self._constant(np.asarray(stored.quantization.scale, np.float32).reshape(rows, 1))
        integers, reals = self._tensor([*picked, width], _T.INT8), self._tensor([*picked, width], _T.FLOAT32)
        factors = self._tensor([*picked, 1], _T.FLOAT32)
        cast = schema.CastOptionsT()
        cast.inDataType, cast.outDataType = _T.INT8, _T.FLOAT32
        self._add("GATHER", [whole, ids], integers, _Options.GatherOptions, schema.GatherOptionsT())
        self._add("CAST", [integers], reals, _Options.CastOptions, cast)
        self._add("GATHER", [scales, ids], factors, _Options.GatherOptions, schema.GatherOptionsT())
        self._add("MUL", [reals, factors], int(operator.outputs[0]), _Options.MulOptions, schema.MulOptionsT())

    def _multiply(self, operator: Any) -> None:
        entering, weight, *bias = (int(one) for one in operator.inputs)
        stored, leaving = self.graph.tensors[weight], int(operator.outputs[0])
        shape = [int(one) for one in self.graph.tensors[leaving].shape]
        plain = self._tensor([int(one) for one in stored.shape], _T.INT8, stored.buffer)
        quantized = schema.QuantizationParametersT()
        quantized.scale, quantized.zeroPoint = np.ones(1, np.float32), np.zeros(1, np.int64)
        self.graph.tensors[plain].quantization = quantized
        scales = self._constant(np.asarray(stored.quantization.scale, np.float32))
        options, last = operator.builtinOptions, operator.builtinOptions.fusedActivationFunction
        options.fusedActivationFunction = _NONE
        product = self._tensor(shape, _T.FLOAT32)
        self._add("FULLY_CONNECTED", [entering, plain], product, _Options.FullyConnectedOptions, options)
        biased = bool(bias) and bias[0] >= 0
        scaled, times = (self._tensor(shape, _T.FLOAT32) if biased else leaving), schema.MulOptionsT()
        times.fusedActivationFunction = _NONE if biased else last
        self._add("MUL", [product, scales], scaled, _Options.MulOptions, times)
        if biased:
            plus = schema.AddOptionsT()
            plus.fusedActivationFunction = last
            self._add("ADD", [scaled, bias[0]], leaving, _Options.AddOptions, plus)

    def _tensor(self, shape: list[int], dtype: int, buffer: int = 0) -> int:
        self.graph.tensors.append(lean.make_tensor(shape, dtype, buffer))
        return len(self.graph.tensors) - 1

    def _constant(self, values: np.ndarray) -> int:
        self.model.buffers.append(lean.make_buffer(values))
        return self._tensor(list(values.shape), _T.FLOAT32, len(self.model.buffers) - 1)

    def _add(self, kind: str, inputs: list[int], output: int, number: int, options: Any) -> None:
        added = schema.OperatorT()
        added.opcodeIndex, added.inputs, added.outputs = lean.place_of_code(self.model, kind), inputs, [output]
        added.builtinOptionsType, added.builtinOptions = number, options
        self.operators.append(added)
