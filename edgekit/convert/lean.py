"""A float .tflite file without what the converter wrote twice, before anything is quantized.

Per signature the converter writes long names, an empty buffer for every activation, and position embeddings folded into
a constant of the bucket's own length. On MiniLM with five buckets that is 1.7 MB; in a student of 2.5 MB it would be
most of the file. Nothing here changes a result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np

from edgekit.convert import names, versions
from edgekit.convert.flatbuffer import kind_of
from edgekit.errors import MissingExtra

try:
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-litert", "host") from error


def slim(content: bytes, weights: Mapping[str, np.ndarray]) -> bytes:
    """The same model, leaner, its tensors named after ``weights``' modules (see ``names.assign``)."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    share_prefixes(model)
    drop_unused(model)
    names.assign(model, weights)
    return pack(model)


def shared(content: bytes) -> bytes:
    """The same model with every constant stored once, and no empty description of a quantization."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    drop_unused(model)
    for tensor in chain.from_iterable(graph.tensors for graph in model.subgraphs):
        found = tensor.quantization
        if found is not None and found.details is None and (found.scale is None or not len(found.scale)):
            tensor.quantization = None
    return pack(model)


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """Writes equal vectors and equal strings once: every signature has the scales and zero points, 12 bytes a channel,
    of every weight."""

    def __init__(self) -> None:
        super().__init__(1024)
        self._vectors: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._vectors:
            self._vectors[key] = super().CreateNumpyVector(x)
        return self._vectors[key]

    def CreateString(self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> int:
        text = s.encode(encoding, errors) if isinstance(s, str) else bytes(s)
        if ("string", text) not in self._vectors:
            self._vectors["string", text] = super().CreateString(text)
        return self._vectors["string", text]


def pack(model: Any) -> bytes:
    """The bytes of an unpacked model, each operator in its least version."""
    versions.settle(model)
    for buffer in model.buffers:
        # anything but an array is written byte by byte, in Python
        if buffer.data is not None:
            buffer.data = np.frombuffer(buffer.data, np.uint8)
    builder = _Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def share_prefixes(model: Any) -> None:
    """Let sums with a constant [length, width] look its rows up in one table, where every signature's constant is the
    beginning of the longest one's, or of a table that a signature looks up already: then the table is stored once, and
    can be quantized like any embedding."""
    groups: dict[int, list[tuple[Any, Any, int, np.ndarray]]] = defaultdict(list)
    for graph in model.subgraphs:
        for operator in graph.operators:
            found = _constant_rows(model, graph, operator)
            if found is not None:
                groups[found[1].shape[1]].append((graph, operator, *found))
    tables = list(_tables(model))
    for width, sums in groups.items():
        own = [max((rows for *_, rows in sums), key=len)] if len(sums) > 1 else []
        fitting = [
            table
            for table in [one for one in tables if one.shape[1] == width] + own
            if all(np.array_equal(table[: len(rows)], rows) for *_, rows in sums)
        ]
        if fitting:
            longest = fitting[0]
            model.buffers.append(make_buffer(longest))
            table = len(model.buffers) - 1
            for graph, operator, place, rows in sums:
                _look_up(model, graph, operator, place, table, (len(longest), *rows.shape))


def _tables(model: Any) -> Iterator[np.ndarray]:
    """The float tables [rows, width] that rows are looked up in."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            if kind_of(model.operatorCodes[operator.opcodeIndex]) == "EMBEDDING_LOOKUP":
                table = graph.tensors[operator.inputs[1]]
                data = model.buffers[table.buffer].data
                if data is not None and table.type == schema.TensorType.FLOAT32:
                    yield np.frombuffer(bytes(data), np.float32).reshape([int(one) for one in table.shape])


def _look_up(model: Any, graph: Any, operator: Any, place: int, table: int, sizes: tuple[int, int, int]) -> None:
    """Replace the constant at ``place`` by the first rows of ``table``; ``sizes``: rows of the table, rows, width."""
    height, rows, width = sizes
    model.buffers.append(make_buffer(np.arange(rows, dtype=np.int32)))
    first = len(graph.tensors)
    graph.tensors += [
        make_tensor([rows], schema.TensorType.INT32, len(model.buffers) - 1),
        make_tensor([height, width], schema.TensorType.FLOAT32, table),
        make_tensor([rows, width], schema.TensorType.FLOAT32, 0),
    ]
    lookup = schema.OperatorT()
    lookup.opcodeIndex, lookup.inputs, lookup.outputs = (
        place_of_code(model, "EMBEDDING_LOOKUP"),
        [first, first + 1],
        [first + 2],
    )
    # at the front, with the other lookup: a delegate then takes all the rest in one piece
    graph.operators.insert(0, lookup)
    operator.inputs = [first + 2 if int(one) == place else int(one) for one in operator.inputs]


def drop_unused(model: Any) -> None:
    """Leave out tensors that nothing reads, empty buffers but the first, and all but one of equal buffers."""
    for graph in model.subgraphs:
        used = {int(one) for one in chain(graph.inputs, graph.outputs)} | {
            int(one) for op in graph.operators for one in chain(op.inputs, op.outputs) if one >= 0
        }
        # the scales of a weight in blocks are a tensor that only the weight names
        blocks = [found for found in map(_blocks, (graph.tensors[one] for one in sorted(used))) if found is not None]
        kept = sorted(used | {place for one in blocks for place in (one.scales, one.zeroPoints) if place > 0})
        place = {old: new for new, old in enumerate(kept)}
        graph.tensors = [graph.tensors[old] for old in kept]
        for one in blocks:
            one.scales, one.zeroPoints = place.get(one.scales, 0), place.get(one.zeroPoints, 0)
        graph.inputs, graph.outputs = _moved(graph.inputs, place), _moved(graph.outputs, place)
        for operator in graph.operators:
            operator.inputs = [place[int(one)] if one >= 0 else -1 for one in operator.inputs]
            operator.outputs = _moved(operator.outputs, place)
        index = model.subgraphs.index(graph)
        for signature in (one for one in model.signatureDefs if one.subgraphIndex == index):
            for pair in chain(signature.inputs, signature.outputs):
                pair.tensorIndex = place[int(pair.tensorIndex)]
    _drop_buffers(model)


def _blocks(tensor: Any) -> Any | None:
    details = None if tensor.quantization is None else tensor.quantization.details
    return details if isinstance(details, schema.BlockwiseQuantizationT) else None


def _drop_buffers(model: Any) -> None:
    buffers: list[Any] = [schema.BufferT()]
    known: dict[bytes, int] = {b"": 0}
    for tensor in chain.from_iterable(graph.tensors for graph in model.subgraphs):
        data = model.buffers[tensor.buffer].data
        content = b"" if data is None else bytes(data)
        if content not in known:
            known[content] = len(buffers)
            buffers.append(model.buffers[tensor.buffer])
        tensor.buffer = known[content]
    for entry in model.metadata or ():
        buffers.append(model.buffers[entry.buffer])
        entry.buffer = len(buffers) - 1
    model.buffers = buffers


def _constant_rows(model: Any, graph: Any, operator: Any) -> tuple[int, np.ndarray] | None:
    """The place and the rows [length, width] of the float constant that a sum adds to its first input, if it has."""
    if kind_of(model.operatorCodes[operator.opcodeIndex]) != "ADD":
        return None
    place = int(operator.inputs[1])
    tensor = graph.tensors[place]
    shape, data = [int(one) for one in tensor.shape], model.buffers[tensor.buffer].data
    if data is None or tensor.type != schema.TensorType.FLOAT32 or len(shape) < 2 or min(shape[-2:]) < 2:
        return None
    if any(one > 1 for one in shape[:-2]):
        return None
    return place, np.frombuffer(bytes(data), np.float32).reshape(shape[-2:])


def _moved(places: Iterable[int], new: Mapping[int, int]) -> list[int]:
    return [new[int(one)] for one in places]


def place_of_code(model: Any, kind: str) -> int:
    """The index of an operator code, added where the model has none."""
    for index, code in enumerate(model.operatorCodes):
        if kind_of(code) == kind:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = vars(schema.BuiltinOperator)[kind]
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def make_buffer(values: np.ndarray) -> Any:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    return buffer


def make_tensor(shape: list[int], dtype: int, buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer, tensor.name = shape, dtype, buffer, b""
    return tensor
