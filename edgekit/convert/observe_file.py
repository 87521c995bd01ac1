"""What passes through the matrix products of a float .tflite file while it reads calibration texts.

As :mod:`edgekit.convert.observe` has it for a module, where there is a file and no module of ours. Every tensor is kept
by the interpreter; rows of padded positions, which are read by nobody, are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekit.convert import flatbuffer, names
from edgekit.convert.histogram import Histogram
from edgekit.convert.job import signature_name
from edgekit.convert.tokens import padded
from edgekit.errors import MissingExtra
from edgekit.spec.progress import Report, quiet

try:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-litert", "host") from error


def histograms(
    file: Path, ids: Sequence[Sequence[int]], lengths: Sequence[int], report: Report = quiet
) -> tuple[dict[str, Histogram], dict[str, Histogram]]:
    """Of what goes into every product and of what comes out, by its name in the file; each text in its own bucket."""
    model = flatbuffer.read(file)
    products = names.products(model)
    # a delegate would keep its tensors to itself
    interpreter = Interpreter(
        model_path=str(file),
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    entering: dict[str, Histogram] = defaultdict(Histogram)
    leaving: dict[str, Histogram] = defaultdict(Histogram)
    for number, one in enumerate(ids, 1):
        length = next((bucket for bucket in lengths if len(one) <= bucket), lengths[-1])
        signature = signature_name(length)
        interpreter.get_signature_runner(signature)(**padded(one, length))
        graph = model.subgraph(signature)
        places = {tensor.name: place for place, tensor in enumerate(graph.tensors)}
        for product in products[signature]:
            for name, histogram in ((product.input, entering), (product.output, leaving)):
                values = interpreter.get_tensor(places[name], graph.index)
                histogram[product.module].add(_real(values, len(one), length))
        report(f"calibrating on {len(ids)} texts", number / len(ids))
    return dict(entering), dict(leaving)


def readers(file: Path) -> list[list[str]]:
    """The names of the products that read one and the same tensor, group by group."""
    groups: list[list[str]] = []
    for products in names.products(flatbuffer.read(file)).values():
        by_input: dict[str, list[str]] = defaultdict(list)
        for one in products:
            by_input[one.input].append(one.module)
        groups += by_input.values()
    return groups


def _real(values: np.ndarray, tokens: int, length: int) -> np.ndarray:
    """Without the rows behind the last token, where there is a row a token."""
    rows: np.ndarray = values.reshape(-1, values.shape[-1])
    return rows[:tokens] if len(rows) == length else rows
