"""TFLite from a Keras model or a SavedModel: tensorflow's own converter writes the float file, in a process of its own;
all that comes after is the road of :mod:`edgekit.convert.tflite`.

What its files have otherwise is brought into the form that road knows: products are called after the Keras layers whose
weights they hold, and rows of a table are looked up as an embedding's, which can be stored in whole numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.convert import flatbuffer, lean, mixed, names, observe_file, prepare, quantize, realised, tflite, versions
from edgekit.convert import lowered as lowering
from edgekit.convert.flatbuffer import kind_of
from edgekit.convert.job import Converted, Job, signatures, write_whole
from edgekit.convert.module import hushed
from edgekit.convert.quantize import PRECISION, Plan
from edgekit.convert.tokens import tokenize
from edgekit.errors import MissingExtra
from edgekit.models import keras
from edgekit.spec.progress import Report, quiet
from edgekit.spec.scheme import STATIC

try:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-litert", "host") from error


def write(job: Job) -> Converted:
    """Write the job's file: convert to float, unless that was done before, and quantize from there.

    Raises BuildError where tensorflow cannot convert the model for these lengths.
    """
    described = keras.read(job.checkpoint)
    if job.scheme == tflite.FLOAT:
        export(job.checkpoint, job.lengths, job.out, job.report)
    else:
        write_whole(job.out, lambda file: _write_quantized(job, file))
    return Converted(
        file=job.out,
        signatures=signatures(job.lengths, len(described.labels)),
        realised=realised.tflite(job.out, job.scheme),
        parameters=described.parameters,
        runtimes=tflite.readers(job),
    )


def export(folder: Path, lengths: Sequence[int], out: Path, report: Report = quiet) -> None:
    """Convert to float32 TFLite."""
    report(f"converting {len(lengths)} signatures to TFLite with tensorflow", None)

    def fill(file: Path) -> None:
        layers = keras.export(folder, lengths, file)
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(file.read_bytes()))
        # what it says of the converter's run is no part of the model
        model.metadata = None
        look_up_rows(model)
        file.write_bytes(lean.slim(lean.pack(model), weights_of(model, layers)))

    write_whole(out, fill)


def look_up_rows(model: Any) -> None:
    """Write every GATHER of rows of a float table as an EMBEDDING_LOOKUP, which takes its ids in one dimension, in
    place in an unpacked model."""
    for graph in model.subgraphs:
        operators, graph.operators = graph.operators, []
        for operator in operators:
            if kind_of(model.operatorCodes[operator.opcodeIndex]) == "GATHER" and _picks_rows(model, graph, operator):
                _look_up(model, graph, operator)
            else:
                graph.operators.append(operator)


def _picks_rows(model: Any, graph: Any, operator: Any) -> bool:
    table, ids = (graph.tensors[int(one)] for one in operator.inputs)
    options = operator.builtinOptions
    return bool(
        model.buffers[table.buffer].data is not None
        and table.type == schema.TensorType.FLOAT32
        and ids.type == schema.TensorType.INT32
        and len(table.shape) == 2
        and options.axis in (0, -2)
        and not options.batchDims
    )


def _look_up(model: Any, graph: Any, operator: Any) -> None:
    table, ids = (int(one) for one in operator.inputs)
    count = int(np.prod(graph.tensors[ids].shape))
    width = int(graph.tensors[table].shape[1])
    flat, rows = len(graph.tensors), len(graph.tensors) + 1
    graph.tensors += [
        lean.make_tensor([count], schema.TensorType.INT32, 0),
        lean.make_tensor([count, width], schema.TensorType.FLOAT32, 0),
    ]
    lookup = schema.OperatorT()
    lookup.opcodeIndex, lookup.inputs = lean.place_of_code(model, "EMBEDDING_LOOKUP"), [flat, table]
    lookup.outputs = [rows]
    result = int(operator.outputs[0])
    graph.operators += [
        _reshape(model, graph, ids, flat, [count]),
        lookup,
        _reshape(model, graph, rows, result, [int(one) for one in graph.tensors[result].shape]),
    ]


def _reshape(model: Any, graph: Any, given: int, result: int, shape: list[int]) -> Any:
    model.buffers.append(lean.make_buffer(np.array(shape, np.int32)))
    graph.tensors.append(lean.make_tensor([len(shape)], schema.TensorType.INT32, len(model.buffers) - 1))
    found = schema.OperatorT()
    found.opcodeIndex = lean.place_of_code(model, "RESHAPE")
    found.inputs, found.outputs = [given, len(graph.tensors) - 1], [result]
    found.builtinOptionsType, found.builtinOptions = schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT()
    found.builtinOptions.newShape = shape
    return found


def weights_of(model: Any, layers: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The weights [out, in] of an unpacked model's products, by the name of their layer; a product that the converter
    changed, by its number. ``layers``: names by the SHA-256 (hex) of the weights."""
    found: dict[str, np.ndarray] = {}
    known: set[str] = set()
    for graph in model.subgraphs:
        for operator in graph.operators:
            if kind_of(model.operatorCodes[operator.opcodeIndex]) != names.PRODUCT:
                continue
            tensor = graph.tensors[int(operator.inputs[1])]
            data = model.buffers[tensor.buffer].data
            if data is None or tensor.type != schema.TensorType.FLOAT32:
                continue
            content = bytes(data)
            digest = hashlib.sha256(content).hexdigest()
            if digest in known:
                continue
            known.add(digest)
            name = layers.get(digest, f"product{len(known)}")
            if name in found:
                name = f"{name}.{len(known)}"
            found[name] = np.frombuffer(content, np.float32).reshape([int(one) for one in tensor.shape])
    return found


def _write_quantized(job: Job, out: Path) -> None:
    source = job.float_file
    if source is None:
        source = out.with_name(out.name + ".float")
        export(job.checkpoint, job.lengths, source, job.report)
    try:
        plan = _plan(job, source)
        job.report(f"quantizing to {job.scheme}", None)
        with hushed():
            content = quantize.quantize(source, plan)
            if job.runtime in versions.READS:
                content = lowering.lower(content)
        out.write_bytes(content)
    finally:
        if source is not job.float_file:
            source.unlink(missing_ok=True)


def _plan(job: Job, source: Path) -> Plan:
    """What each product becomes. Raises BuildError where a pattern names none."""
    if PRECISION[job.scheme] == "half":
        return Plan(job.scheme, job.quantization)
    products = names.products(flatbuffer.read(source)).values()
    kept = mixed.named({one.module for graph in products for one in graph}, job.quantization.mixed)
    if job.scheme != STATIC:
        # the others are no less precise than dynamic
        kept = {name: one for name, one in kept.items() if one == "float"}
    plan = Plan(job.scheme, job.quantization, kept, integer_results=job.integer_results)
    if job.scheme != STATIC:
        return plan
    ids = tokenize(job.checkpoint, job.texts, job.lengths[-1])
    entering, leaving = observe_file.histograms(source, ids, job.lengths, job.report)
    return prepare.ranged(plan, entering, leaving, observe_file.readers(source), job.calibration)
