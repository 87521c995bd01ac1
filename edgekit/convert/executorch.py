"""ExecuTorch (``.pte``): one method for every length, its products handed to XNNPACK.

Integers are made by ExecuTorch's own quantizer (PT2E), by its rules: dynamic int8 of every product, a scale a channel.
"""

from __future__ import annotations

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
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # type: ignore[import-untyped]
        XnnpackPartitioner,
    )
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (  # type: ignore[import-untyped]
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import to_edge_transform_and_lower  # type: ignore[import-untyped]
    from executorch.extension.pybindings import _C as bindings  # type: ignore[import-untyped]
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
except ImportError as error:
    raise MissingExtra(error.name or "executorch", "executorch") from error

DYNAMIC = "w8_a32_dynamic"
#: The length that is traced: any but 0 and 1, which torch takes for constants.
_TRACED = 4
_DELEGATED = "executorch_call_delegate"


def write(job: Job) -> Converted:
    """Export, quantize and lower to XNNPACK. Raises BuildError where the module cannot be exported."""
    classifier = module.load(job.checkpoint, job.lengths)
    count, classes = module.parameters(classifier), module.classes(classifier)
    job.report(f"exporting to ExecuTorch, {job.scheme}", None)
    try:
        with module.hushed(), torch.no_grad():
            exported = _exported(classifier, job.lengths[-1])
            if job.scheme == DYNAMIC:
                exported = _exported(_quantized(exported), job.lengths[-1])
            lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
            found = _realised(lowered, job.scheme)
            content = bytes(lowered.to_executorch().buffer)
    except (RuntimeError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BuildError(f"ExecuTorch cannot export this module: {reason}", where="pte") from error
    write_whole(job.out, lambda file: file.write_bytes(content))
    return Converted(job.out, signatures(job.lengths, classes, classifier.task), found, count, dynamic=True)


def run(file: Path, inputs: Sequence[Inputs]) -> np.ndarray:
    """Logits float32 [texts, classes] of texts, padded or not, on one thread; of a language model [tokens, classes], of
    all real tokens."""
    logits: np.ndarray = np.concatenate(list(each(file, inputs)))
    return logits


def each(file: Path, inputs: Sequence[Inputs]) -> Iterator[np.ndarray]:
    """The same, text by text. Raises RuntimeError where the file cannot be loaded or run."""
    bindings._unsafe_reset_threadpool(1)
    loaded = bindings._load_for_executorch(str(file))
    for one in inputs:
        given = [torch.from_numpy(one[name]) for name in ("input_ids", "attention_mask")]
        yield rows(loaded.forward(given)[0].numpy(), one)


def _exported(exportable: torch.nn.Module, longest: int) -> Any:
    length = torch.export.Dim("length", min=2, max=longest)
    ones = torch.ones(1, _TRACED, dtype=torch.int32)
    return torch.export.export(exportable, (ones, ones.clone()), dynamic_shapes=({1: length}, {1: length}))


def _quantized(exported: Any) -> torch.nn.Module:
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    # models of Hugging Face hold integer scalars, which its own pass would turn to float (executorch #22062)
    quantizer.transform_for_annotation = lambda graph: graph
    prepared = prepare_pt2e(exported.module(), quantizer)
    ones = torch.ones(1, _TRACED, dtype=torch.int32)
    prepared(ones, ones.clone())  # the observers of weights look at them when they are first called
    quantized: torch.nn.Module = convert_pt2e(prepared)
    return quantized


def _realised(lowered: Any, scheme: str) -> Realised:
    """Delegates count as one operator each: XNNPACK's own graph is not told apart. Weights by type, as they are stored
    outside and inside of delegates."""
    program = lowered.exported_program()
    counts: Counter[tuple[str, str]] = Counter()
    for node in program.graph.nodes:
        if node.op == "call_function":
            name = getattr(node.target, "__name__", str(node.target))
            precision = "int8-dynamic" if scheme == DYNAMIC else "float32"
            if name == _DELEGATED:
                counts["XNNPACK", precision] += 1
            elif "embedding" in name:
                counts["embedding", "float32"] += 1
    fallbacks = tuple(
        f"{number} {kind} in float32: PT2E's XNNPACK quantizer knows products only"
        for (kind, precision), number in sorted(counts.items())
        if precision == "float32" and scheme == DYNAMIC
    )
    sizes = [(str(one.dtype).removeprefix("torch."), one.nbytes) for one in _weights(program)]
    return Realised(realised.operator_counts(counts), realised.weight_bytes(sizes), fallbacks)


def _weights(program: Any) -> Iterator[torch.Tensor]:
    """Parameters and constants of the program, and of the original programs that its delegates came from."""
    for one in (program, *_delegated(program)):
        yield from (value for value in {**one.state_dict, **one.constants}.values() if isinstance(value, torch.Tensor))


def _delegated(program: Any) -> Iterator[Any]:
    for name in {str(node.target) for node in program.graph.nodes if node.op == "get_attr"}:
        found = getattr(program.graph_module, name, None)
        original = getattr(found, "original_module", None)
        if original is not None:
            yield original
