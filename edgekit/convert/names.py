"""Which tensors of a TFLite file belong to which ``nn.Linear``: by the weight's bytes, written down as tensor names.

The converter names tensors after Python classes: long (250 kB a signature of MiniLM), not unique to a module, and
nothing that may be relied on. It does keep every constant bit for bit, so the weight of a FULLY_CONNECTED says which
module it came from. :func:`assign` finds that once, right after the export, and renames: the weight of the module
``bert.pooler.dense`` is called ``len8/bert.pooler.dense.weight`` in the signature ``len8``, its output
``len8/bert.pooler.dense`` (``len8/bert.pooler.dense#1`` where a shared module is called again), every other tensor
``len8/<number>``. Quantizing keeps these names, so :func:`products` finds modules again in any later file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.convert.flatbuffer import Model, kind_of

PRODUCT = "FULLY_CONNECTED"


@dataclass(frozen=True)
class Product:
    """One FULLY_CONNECTED and the ``nn.Linear`` it computes; ``input``, ``weight`` and ``output`` name its tensors."""

    module: str
    input: str
    weight: str
    output: str


def assign(model: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Rename the tensors of an unpacked model (``schema.ModelT``), in place.

    Args:
        weights: the weight [out, in] of every ``nn.Linear`` by its dotted module name. Modules of equal weight are told
            apart by their order, which is the order of the calls.
    """
    modules: dict[tuple[bytes, tuple[int, ...]], list[str]] = defaultdict(list)
    for name, weight in weights.items():
        modules[weight.tobytes(), weight.shape].append(name)
    signatures = {one.subgraphIndex: one.signatureKey.decode() for one in model.signatureDefs}
    for index, graph in enumerate(model.subgraphs):
        signature = signatures.get(index, f"graph{index}")
        for number, tensor in enumerate(graph.tensors):
            tensor.name = f"{signature}/{number}".encode()
        calls: Counter[tuple[bytes, tuple[int, ...]]] = Counter()
        for operator in graph.operators:
            if kind_of(model.operatorCodes[operator.opcodeIndex]) != PRODUCT:
                continue
            weight = graph.tensors[operator.inputs[1]]
            data = model.buffers[weight.buffer].data
            key = (b"" if data is None else bytes(data), tuple(int(one) for one in weight.shape))
            if key not in modules:
                continue
            call, twins = calls[key], modules[key]
            calls[key] += 1
            name, again = twins[call % len(twins)], call // len(twins)
            weight.name = f"{signature}/{name}.weight".encode()
            graph.tensors[operator.outputs[0]].name = f"{signature}/{name}{f'#{again}' if again else ''}".encode()


def products(model: Model) -> dict[str, list[Product]]:
    """The FULLY_CONNECTED operators of each signature that compute an ``nn.Linear``, in the order they run."""
    found: dict[str, list[Product]] = {}
    for signature, index in model.signatures.items():
        graph = model.subgraphs[index]
        names = [one.name for one in graph.tensors]
        found[signature] = [
            Product(module_of(names[one.inputs[1]]), names[one.inputs[0]], names[one.inputs[1]], names[one.outputs[0]])
            for one in graph.operators
            if one.kind == PRODUCT
            and graph.tensors[one.inputs[1]].constant
            and names[one.inputs[1]].endswith(".weight")
        ]
    return found


def module_of(weight: str) -> str:
    """The module's name in its weight's: what the quantizer appends to a tensor's name comes after ``.weight``."""
    return weight.split("/", 1)[1].rsplit(".weight", 1)[0]
