from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgekit.convert import sparse

pytestmark = pytest.mark.torch
TOKENS, WIDTH = 3, 64


def products(shares: tuple[float, ...]) -> bytes:
    """A file of matrix products, one after the other, with that share of each matrix's 1 x 4 blocks zero."""
    draw = np.random.default_rng(0)
    model, graph, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 8
    model.version, model.buffers, model.operatorCodes, model.subgraphs = 3, [schema.BufferT()], [code], [graph]
    graph.tensors, graph.operators = [], []

    def tensor(name: str, shape: list[int], data: Any = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), shape, schema.TensorType.FLOAT32, 0
        if data is not None:
            held = schema.BufferT()
            held.data = np.frombuffer(data.astype(np.float32).tobytes(), np.uint8)
            model.buffers.append(held)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    at = tensor("in", [TOKENS, WIDTH])
    graph.inputs = [at]
    for number, share in enumerate(shares):
        zero = draw.permutation(WIDTH * WIDTH // 4) < share * WIDTH * WIDTH // 4
        weight = draw.standard_normal((WIDTH * WIDTH // 4, 4)) * ~zero[:, None]
        one = schema.OperatorT()
        one.opcodeIndex, one.builtinOptionsType = 0, schema.BuiltinOptions.FullyConnectedOptions
        one.builtinOptions = schema.FullyConnectedOptionsT()
        constants = [tensor(f"w{number}", [WIDTH, WIDTH], weight), tensor(f"b{number}", [WIDTH], draw.random(WIDTH))]
        one.inputs, at = [at, *constants], tensor(f"y{number}", [TOKENS, WIDTH])
        one.outputs = [at]
        graph.operators.append(one)
    graph.outputs = [at]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def answer(content: bytes) -> Any:
    runtime = Interpreter(model_content=content, num_threads=1)
    runtime.allocate_tensors()
    given = np.random.default_rng(1).standard_normal((TOKENS, WIDTH)).astype(np.float32)
    runtime.set_tensor(runtime.get_input_details()[0]["index"], given)
    runtime.invoke()
    return runtime.get_tensor(runtime.get_output_details()[0]["index"])


def test_mostly_zero_matrices_are_stored_by_their_blocks_and_compute_the_same() -> None:
    dense = products((0.75, 0.5, 0.875))
    smaller, count = sparse.packed(dense)
    assert count == 2
    np.testing.assert_allclose(answer(smaller), answer(dense), rtol=1e-4, atol=1e-4)
    gone = (0.75 + 0.875) * WIDTH * WIDTH * 4
    indices = (0.25 + 0.125) * WIDTH * WIDTH // 4 * 2
    assert len(dense) - len(smaller) > gone - indices - 2048


def test_matrices_with_too_few_zeros_stay_as_they_are() -> None:
    dense = products((0.5,))
    same, count = sparse.packed(dense)
    assert count == 0
    np.testing.assert_array_equal(answer(same), answer(dense))
