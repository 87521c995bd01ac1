"""ONNX (``.onnx``): one graph for every length, in standard operators, for ONNX Runtime.

What becomes an integer, and with which range, is decided as for TFLite (``prepare``); ``onnx_integers`` writes it.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.convert import decoder, module, onnx_decoder, onnx_integers, onnx_realised, prepare
from edgekit.convert.job import Converted, Job, signatures, write_whole
from edgekit.convert.tokens import Inputs, rows
from edgekit.errors import BuildError, MissingExtra
from edgekit.spec.manifest import Signature
from edgekit.spec.progress import Report, quiet
from edgekit.spec.quantize import Generation

try:
    import onnx
    import onnxruntime
    import onnxscript  # noqa: F401 - torch.onnx needs it, and says so much later
    import torch
    from onnx import numpy_helper
    from onnxruntime.capi import onnxruntime_pybind11_state as states
    from torch import nn
except ImportError as error:
    raise MissingExtra(error.name or "onnx", "onnx") from error

FLOAT = "w32_a32_float"
#: What the runtime raises is no RuntimeError.
_FAILURES = tuple(one for one in vars(states).values() if isinstance(one, type) and issubclass(one, Exception))
#: The length that is traced: any but 0 and 1, which torch takes for constants.
_TRACED = 4


def write(job: Job) -> Converted:
    """Write the job's file: export to float, unless that was done before, and quantize from there.

    Raises BuildError where the checkpoint cannot be exported, or there are too few texts.
    """
    classifier = module.load(job.checkpoint, job.lengths, job.generation)
    if job.scheme == FLOAT:
        export(classifier, job.lengths[-1], job.out, job.report, job.generation)
    else:
        write_whole(job.out, lambda file: _write_quantized(job, classifier, file))
    found = signatures(job.lengths, module.classes(classifier), classifier.task)
    if job.generation:
        found = onnx_decoder.signatures(classifier, job.lengths, job.generation)
    return Converted(
        file=job.out,
        signatures=found,
        realised=onnx_realised.realised(onnx.load(job.out), job.scheme),
        parameters=module.parameters(classifier),
        dynamic=True,
    )


def export(
    classifier: module.Classifier,
    longest: int,
    out: Path,
    report: Report = quiet,
    generation: Generation | None = None,
) -> None:
    """Write float32 ONNX for texts of up to ``longest`` tokens; the classifier's positions beyond that are dropped.
    With ``generation``, a language model's graph can also write."""
    report("exporting to ONNX", None)
    try:
        with module.hushed(), torch.inference_mode():
            if generation is None:
                program = _exported(classifier, longest)
            else:
                program = onnx_decoder.exported(classifier, longest, generation)
    except (RuntimeError, ValueError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BuildError(f"torch cannot export this module: {reason}", where="onnx") from error
    model = _canonical(program.model_proto)
    if generation is not None:
        onnx_decoder.describe(model, generation)
    content = model.SerializeToString(deterministic=True)
    write_whole(out, lambda file: file.write_bytes(content))


def _exported(classifier: module.Classifier, longest: int) -> Any:
    """torch's program of a module that answers a text at once."""
    _drop_positions_(classifier, longest)
    _stack_(classifier)
    length = torch.export.Dim("length", min=2, max=longest)
    ones = torch.ones(1, _TRACED, dtype=torch.int32)
    return torch.onnx.export(
        classifier,
        (ones, ones.clone()),
        dynamo=True,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=({1: length}, {1: length}),
        verbose=False,
    )


def run(file: Path, inputs: Sequence[Inputs]) -> np.ndarray:
    """Logits float32 [texts, classes] of texts, padded or not, on one thread; of a language model [tokens, classes], of
    all real tokens."""
    logits: np.ndarray = np.concatenate(list(each(file, inputs)))
    return logits


def each(file: Path, inputs: Sequence[Inputs]) -> Iterator[np.ndarray]:
    """The same, text by text. Raises RuntimeError where the file cannot be loaded or run."""
    try:
        session = _session(file)
        known, nothing = {one.name for one in session.get_inputs()}, onnx_decoder.nothing_read(session)
        for one in inputs:
            every = np.arange(one["input_ids"].shape[1], dtype=np.int32)
            given = {name: value for name, value in (one | {"places": every, "chosen": every}).items() if name in known}
            yield rows(session.run(["logits"], given | nothing)[0], one)
    except _FAILURES as error:
        raise RuntimeError(str(error)) from error


def entry_points(file: Path) -> decoder.Call:
    """What runs the signatures of a file that generates, on one thread."""
    session = _session(file)

    def call(signature: Signature, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [one.name for one in signature.outputs]
        return dict(zip(names, session.run(names, given), strict=True))

    return call


def _session(file: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # the device's runtime says why
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


class _Stacked(nn.Module):  # type: ignore[misc]
    """``module.Heads`` as one product: twelve small ones, with what cuts and joins, take longer than they compute."""

    def __init__(self, heads: module.Heads) -> None:
        super().__init__()
        self.register_buffer("weight", torch.stack([one.weight.detach().T for one in heads.each]).contiguous())
        biases = [one.bias for one in heads.each]
        self.register_buffer("bias", None if biases[0] is None else torch.stack([one.detach() for one in biases]))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        found = (states[:, :, None] @ self.weight)[:, :, 0]
        return found if self.bias is None else found + self.bias


def _stack_(classifier: module.Classifier) -> None:
    """Stack the last layer's heads, in place, unless something is done to the input of each (see ``smooth``)."""
    for name, child in list(classifier.named_children()):
        if isinstance(child, module.Heads) and not any(one._forward_pre_hooks for one in child.each):
            setattr(classifier, name, _Stacked(child))


def _drop_positions_(classifier: module.Classifier, longest: int) -> None:
    """Texts are cut before they come to the later ones; in place."""
    parts = classifier.family.embeddings(classifier.model)
    if parts.position is not None:
        kept = parts.position.weight[: parts.first + longest].clone()
        parts.position.weight = torch.nn.Parameter(kept, requires_grad=False)


def _canonical(model: Any) -> Any:
    """The same graph without what differs between machines (stack traces, with the host's paths); products carry their
    modules' names, ``classifier`` or ``classifier#1`` where a shared module is called again."""
    graph = model.graph
    calls: Counter[str] = Counter()
    for node in graph.node:
        scopes = next((one.value for one in node.metadata_props if one.key.endswith("name_scopes")), "[]")
        path = ast.literal_eval(scopes)
        if node.op_type in onnx_integers.PRODUCTS and len(path) > 1 and path[-2]:
            name = path[-2].removeprefix("decoder.classifier.").removeprefix("model.")
            node.name = f"{name}#{calls[name]}" if calls[name] else name
            calls[name] += 1
    _share(graph)
    del model.metadata_props[:]
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def _share(graph: Any) -> None:
    """Keep one of equal constants: torch writes a weight that it turned once for every call of its module."""
    kept: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    name_of = {
        one.name: kept.setdefault((one.data_type, tuple(one.dims), numpy_helper.to_array(one).tobytes()), one.name)
        for one in graph.initializer
    }
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = name_of.get(name, name)
    used = [one for one in graph.initializer if name_of[one.name] == one.name]
    del graph.initializer[:]
    graph.initializer.extend(used)


def _write_quantized(job: Job, classifier: module.Classifier, out: Path) -> None:
    prepared = prepare.prepare(job, classifier)
    source = None if prepared.changed else job.float_file
    if source is None:
        source = out.with_name(out.name + ".float")
        export(classifier, job.lengths[-1], source, job.report, job.generation)
    try:
        job.report(f"quantizing to {job.scheme}", None)
        model = onnx_integers.quantize(onnx.load(source), prepared.plan)
        out.write_bytes(model.SerializeToString(deterministic=True))
    finally:
        if source is not job.float_file:
            source.unlink(missing_ok=True)
