"""A .tflite file as plain values: what is in it, without running it (schema: tensorflow/lite/schema/schema.fbs)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BuildError, MissingExtra

try:
    from ai_edge_litert import schema_py_generated as schema
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-litert", "host") from error

_KINDS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_TYPES = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}


@dataclass(frozen=True)
class Tensor:
    """``buffer`` is the place of its data in the file, ``size`` the bytes there; only a constant has any. ``scales``
    and ``zeros`` are empty where the tensor is not quantized."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    buffer: int
    size: int
    scales: tuple[float, ...] = ()
    zeros: tuple[int, ...] = ()

    @property
    def constant(self) -> bool:
        return self.size > 0


@dataclass(frozen=True)
class Operator:
    """``inputs`` and ``outputs`` are places in the subgraph's tensors; optional inputs left out are not there."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Subgraph:
    index: int
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Model:
    """``signatures`` maps a signature's name to the index of its subgraph."""

    subgraphs: tuple[Subgraph, ...]
    signatures: dict[str, int]

    def subgraph(self, signature: str) -> Subgraph:
        return self.subgraphs[self.signatures[signature]]


def read(file: Path) -> Model:
    """Raises BuildError where the file is no TFLite flatbuffer."""
    content = file.read_bytes()
    if content[4:8] != b"TFL3":
        raise BuildError("not a TFLite file", where=str(file), given=content[4:8], allowed="TFL3 at byte 4")
    model = schema.Model.GetRootAs(content, 0)
    sizes = [_size(model.Buffers(n)) for n in range(model.BuffersLength())]
    kinds = [
        kind_of(schema.OperatorCodeT.InitFromObj(model.OperatorCodes(n))) for n in range(model.OperatorCodesLength())
    ]
    subgraphs = tuple(_subgraph(n, model.Subgraphs(n), sizes, kinds) for n in range(model.SubgraphsLength()))
    found = (model.SignatureDefs(n) for n in range(model.SignatureDefsLength()))
    return Model(subgraphs, {one.SignatureKey().decode(): one.SubgraphIndex() for one in found})


def _size(buffer: schema.Buffer) -> int:
    # data stands in the flatbuffer, or behind it at an offset (0 and 1 mean: not there)
    return int(buffer.Size() if buffer.Offset() > 1 else buffer.DataLength())


def kind_of(code: Any) -> str:
    """The name of an unpacked operator code (``schema.OperatorCodeT``)."""
    # codes up to 127 stand in the older field as well, later ones only in the newer
    kind: str = _KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return kind


def _tensor(raw: schema.Tensor, sizes: list[int]) -> Tensor:
    found = raw.Quantization()
    return Tensor(
        name=raw.Name().decode(),
        dtype=_TYPES[raw.Type()],
        shape=tuple(raw.Shape(n) for n in range(raw.ShapeLength())),
        buffer=raw.Buffer(),
        size=sizes[raw.Buffer()],
        scales=() if found is None else tuple(found.Scale(n) for n in range(found.ScaleLength())),
        zeros=() if found is None else tuple(found.ZeroPoint(n) for n in range(found.ZeroPointLength())),
    )


def _subgraph(index: int, graph: schema.SubGraph, sizes: list[int], kinds: list[str]) -> Subgraph:
    raw = [graph.Tensors(n) for n in range(graph.TensorsLength())]
    tensors = tuple(_tensor(one, sizes) for one in raw)
    operators = tuple(
        Operator(
            kind=kinds[one.OpcodeIndex()],
            inputs=tuple(one.Inputs(n) for n in range(one.InputsLength()) if one.Inputs(n) >= 0),
            outputs=tuple(one.Outputs(n) for n in range(one.OutputsLength())),
        )
        for one in (graph.Operators(n) for n in range(graph.OperatorsLength()))
    )
    return Subgraph(index, tensors, operators)
