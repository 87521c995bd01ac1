"""TorchScript-mobile (``.ptl``): one module for every length. torch deprecates TorchScript: it stays in this file."""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.convert import module, realised
from edgekit.convert.job import Converted, Job, signatures, write_whole
from edgekit.convert.tokens import Inputs, rows
from edgekit.errors import BuildError, MissingExtra
from edgekit.spec.manifest import Realised

try:
    import torch
    from torch import nn
    from torch.ao import quantization
    from torch.jit.mobile import _load_for_lite_interpreter
except ImportError as error:
    raise MissingExtra(error.name or "torch", "host") from error

#: The quantized kernels for ARM.
ENGINE = "qnnpack"
DYNAMIC = "w8_a32_dynamic"
#: The operators that compute something, and in which precision; all others move data.
_PRECISIONS = {
    "quantized::linear_dynamic": "int8-dynamic",
    "quantized::embedding_byte": "int8-weights",
    **dict.fromkeys(
        ("aten::linear", "aten::embedding", "aten::matmul", "aten::softmax", "aten::layer_norm", "aten::gelu"),
        "float32",
    ),
    **dict.fromkeys(("aten::tanh", "aten::add", "aten::mul"), "float32"),
}
_REASONS = {
    "aten::linear": "it was not quantized",
    "aten::embedding": "it was not quantized",
    "aten::matmul": "a product of two activations has no dynamic int8 form",
}


def write(job: Job) -> Converted:
    """Trace, freeze and save for the lite interpreter. Raises BuildError where the module cannot be traced."""
    classifier = module.load(job.checkpoint, job.lengths)
    count, classes = module.parameters(classifier), module.classes(classifier)
    job.report(f"tracing as TorchScript, {job.scheme}", None)
    with module.hushed():
        exported = _quantized(classifier) if job.scheme == DYNAMIC else classifier
        scripted = _canonical(_traced(exported, job.lengths))
        content = scripted._save_to_buffer_for_lite_interpreter()
        found = _realised(scripted, job.scheme)
    write_whole(job.out, lambda file: file.write_bytes(content))
    return Converted(job.out, signatures(job.lengths, classes, classifier.task), found, count, dynamic=True)


def run(file: Path, inputs: Sequence[Inputs]) -> np.ndarray:
    """Logits float32 [texts, classes] of padded texts, by the lite interpreter; of a language model [tokens, classes],
    of all real tokens."""
    logits: np.ndarray = np.concatenate(list(each(file, inputs)))
    return logits


def each(file: Path, inputs: Sequence[Inputs]) -> Iterator[np.ndarray]:
    """The same, text by text."""
    torch.backends.quantized.engine = ENGINE
    with module.hushed():
        loaded = _load_for_lite_interpreter(str(file))
    for one in inputs:
        with module.hushed(), torch.inference_mode():
            found = loaded(*(torch.from_numpy(one[name]) for name in ("input_ids", "attention_mask")))
        yield rows(found.numpy(), one)


def _quantized(classifier: module.Classifier) -> nn.Module:
    """Weights in int8, one scale an output channel; embeddings in 8 bits, one scale a row."""
    torch.backends.quantized.engine = ENGINE
    linear = quantization.QConfig(
        # torch's own default narrows activations to 7 bits for x86; ARM has no need of it
        activation=quantization.PlaceholderObserver.with_args(
            dtype=torch.quint8, quant_min=0, quant_max=255, is_dynamic=True
        ),
        weight=quantization.default_per_channel_weight_observer,
    )
    spec = {nn.Linear: linear, nn.Embedding: quantization.float_qparams_weight_only_qconfig}
    quantized: nn.Module = quantization.quantize_dynamic(classifier, spec)
    return quantized


def _traced(classifier: nn.Module, lengths: Sequence[int]) -> Any:
    longest = torch.ones(1, lengths[-1], dtype=torch.int32)
    try:
        with torch.inference_mode():
            traced = torch.jit.trace(classifier, (longest, longest.clone()), check_trace=False)
            return torch.jit.freeze(traced.eval())
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BuildError(f"torch cannot trace this module: {reason}", where="ptl") from error


def _canonical(scripted: Any) -> Any:
    """The same module without what differs between two runs: a counter in its class's name once a process has traced
    before, and the host's paths in the debug information."""
    saved, cleaned = io.BytesIO(), io.BytesIO()
    torch.jit.save(scripted, saved)
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(cleaned, "w") as new:
        for entry in old.infolist():
            if entry.filename.endswith(".debug_pkl"):
                continue
            content = old.read(entry)
            if entry.filename.endswith((".py", "data.pkl")):
                content = re.sub(rb"\.___torch_mangle_\d+", b"", content)
            new.writestr(re.sub(r"/___torch_mangle_\d+\.py$", ".py", entry.filename), content)
    cleaned.seek(0)
    return torch.jit.load(cleaned)


def _realised(scripted: Any, scheme: str) -> Realised:
    graph = torch.jit.freeze(scripted.eval()).inlined_graph
    counts: Counter[tuple[str, str]] = Counter()
    sizes: list[tuple[str, int]] = []
    for node in graph.nodes():
        if node.kind() in _PRECISIONS:
            counts[node.kind(), _PRECISIONS[node.kind()]] += 1
        elif node.kind() == "prim::Constant":
            sizes.extend(
                (str(one.dtype).removeprefix("torch."), one.nbytes) for one in _tensors(node.output().toIValue())
            )
    fallbacks = tuple(
        f"{number} {kind} in float32: {_REASONS.get(kind, 'torch has no dynamic int8 form of it')}"
        for (kind, precision), number in sorted(counts.items())
        if precision == "float32" and scheme == DYNAMIC
    )
    return Realised(realised.operator_counts(counts), realised.weight_bytes(sizes), fallbacks)


def _tensors(constant: object) -> Iterator[torch.Tensor]:
    """The weights in a constant of the graph: a tensor, or the packed weight and bias of a quantized operator."""
    if isinstance(constant, torch.Tensor):
        yield constant
    elif isinstance(constant, torch.ScriptObject):
        kind = constant._type().str()
        if "EmbeddingPackedParamsBase" in kind:
            yield torch.ops.quantized.embedding_bag_unpack(constant)
        elif "LinearPackedParamsBase" in kind:
            weight, bias = torch.ops.quantized.linear_unpack(constant)
            yield from (one for one in (weight, bias) if one is not None)
