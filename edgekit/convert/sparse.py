"""A float .tflite file whose mostly zero matrices are stored, and computed, by their blocks that are not zero.

LiteRT's own fully-connected kernel takes float32 weights of which blocks of one row and four columns are left out. The
delegate (XNNPACK) leaves such an operator to it: its own sparse path takes no fully-connected layer, but only networks
of 1x1 convolutions that begin with a 3x3 one (Fast Sparse ConvNets, Elsen et al. 2020). Measured on x86, one thread, 16
tokens, matrices of 1,536 x 384: with half of the blocks zero it takes 1.3 times as long as the dense one, with three
quarters 0.56, with nine tenths 0.21 times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.convert.lean import pack
from edgekit.errors import MissingExtra

try:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-litert", "host") from error

#: The columns of a block; it has one row.
COLUMNS = 4
#: From this share of zero blocks on the sparse kernel is the faster one.
LEAST = 0.7
_DENSE, _SPARSE = schema.DimensionType.DENSE, schema.DimensionType.SPARSE_CSR


def packed(content: bytes, least: float = LEAST) -> tuple[bytes, int]:
    """The same model with the matrices stored sparsely of which a share of ``least`` blocks is zero, and how many."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    stored: dict[int, Any] = {}
    for number, tensors in _matrices(model).items():
        rows, columns = (int(one) for one in tensors[0].shape)
        if columns % COLUMNS:
            continue
        blocks = np.frombuffer(bytes(model.buffers[number].data), np.float32).reshape(rows, columns // COLUMNS, COLUMNS)
        there = blocks.any(-1)
        if 1.0 - there.mean() < least or columns // COLUMNS > np.iinfo(np.uint16).max:
            continue
        stored[number] = _layout(there)
        model.buffers[number].data = np.frombuffer(blocks[there].tobytes(), np.uint8)
        for one in tensors:
            one.sparsity = stored[number]
    return pack(model), len(stored)


def _matrices(model: Any) -> dict[int, list[Any]]:
    """The tensors of each buffer that float32 fully-connected operators, and nothing else, take as their weights."""
    kinds = [max(one.builtinCode, one.deprecatedBuiltinCode) for one in model.operatorCodes]
    weights: dict[int, list[Any]] = {}
    other: set[int] = {0}
    for graph in model.subgraphs:
        of_products = set()
        for operator in graph.operators:
            product = kinds[operator.opcodeIndex] == schema.BuiltinOperator.FULLY_CONNECTED
            for place, number in enumerate(operator.inputs):
                tensor = graph.tensors[number]
                if number < 0:
                    continue
                if product and place == 1 and tensor.type == schema.TensorType.FLOAT32 and tensor.sparsity is None:
                    of_products.add(int(number))
                else:
                    other.add(tensor.buffer)
        for number in sorted(of_products):
            weights.setdefault(graph.tensors[number].buffer, []).append(graph.tensors[number])
    constant = {number for number, one in enumerate(model.buffers) if one.data is not None and len(one.data)}
    return {number: tensors for number, tensors in weights.items() if number in constant - other}


def _layout(there: np.ndarray) -> Any:
    """Where the blocks that are stored lie, [rows, blocks a row] bool: rows dense, blocks in compressed rows."""
    segments, indices = schema.Int32VectorT(), schema.Uint16VectorT()
    segments.values = np.concatenate([[0], np.cumsum(there.sum(1))]).astype(np.int32)
    indices.values = np.nonzero(there)[1].astype(np.uint16)
    blocks = schema.DimensionMetadataT()
    blocks.format = _SPARSE
    blocks.arraySegmentsType, blocks.arraySegments = schema.SparseIndexVector.Int32Vector, segments
    blocks.arrayIndicesType, blocks.arrayIndices = schema.SparseIndexVector.Uint16Vector, indices
    layout = schema.SparsityParametersT()
    layout.traversalOrder, layout.blockMap = [0, 1, 2], [1]
    layout.dimMetadata = [_dense(there.shape[0]), blocks, _dense(COLUMNS)]
    return layout


def _dense(size: int) -> Any:
    dimension = schema.DimensionMetadataT()
    dimension.format, dimension.denseSize = _DENSE, size
    return dimension
