"""Float .tflite → quantized .tflite, with ai-edge-quantizer. One recipe a scheme.

All of them hold embeddings in int8, one scale a row, and the weights of matrix products in int8, one scale an output
channel. ``w8_a8_static`` computes matrix products with constant weights in int8 and everything else in float: softmax,
mask, layer norm, GELU and the products of attention gain nothing from int8 (the table lookups and the extra
conversions cost what they save) and lose exactness.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from edgekit.errors import BuildError, MissingExtra

try:
    import numpy as np
    from ai_edge_quantizer import quantizer, recipe_manager
    from ai_edge_quantizer.qtyping import TFLOperationName
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-quantizer", "host") from error

_EVERYWHERE = ".*"
_BITS = 8
#: Operators of ``w8_a8_static`` that compute in int8: their inputs and outputs need ranges.
STATIC_OPERATORS = ("FULLY_CONNECTED",)


def quantize(
    float_file: Path,
    scheme: str,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    spared: Collection[str] = (),
) -> bytes:
    """The file's content in ``scheme``.

    Args:
        ranges: for ``w8_a8_static``: least and greatest value of every tensor that goes in or out of a static operator.
        spared: outputs, by name, of operators that int8 activations would spoil: they are quantized dynamically.

    Raises BuildError where a range is missing or the quantizer refuses.
    """
    rules = recipe_manager.RecipeManager()
    _RULES[scheme](rules)
    for name in sorted(spared):
        # the quantizer's scope of an operator: the names of its outputs, each with a semicolon
        rules.add_dynamic_config(f"^{re.escape(name)};?$", TFLOperationName.FULLY_CONNECTED, _BITS)
    worker = quantizer.Quantizer(str(float_file), rules.get_quantization_recipe())
    found = None
    if ranges is not None:
        found = {
            name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
            for name, (low, high) in ranges.items()
        }
    try:
        result = worker.quantize(found, enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError) as error:
        raise BuildError(f"ai-edge-quantizer refuses: {error}", where=f"tflite/{scheme}") from error
    return bytes(result.quantized_model)


def _weight_only(rules: recipe_manager.RecipeManager) -> None:
    rules.add_weight_only_config(_EVERYWHERE, TFLOperationName.FULLY_CONNECTED, _BITS)
    _embeddings(rules)


def _dynamic(rules: recipe_manager.RecipeManager) -> None:
    rules.add_dynamic_config(_EVERYWHERE, TFLOperationName.FULLY_CONNECTED, _BITS)
    _embeddings(rules)


def _static(rules: recipe_manager.RecipeManager) -> None:
    for name in STATIC_OPERATORS:
        rules.add_static_config(_EVERYWHERE, TFLOperationName[name], _BITS, _BITS)
    _embeddings(rules)


def _embeddings(rules: recipe_manager.RecipeManager) -> None:
    # the lookup itself turns the rows it picks into float
    rules.add_dynamic_config(_EVERYWHERE, TFLOperationName.EMBEDDING_LOOKUP, _BITS)


_RULES: dict[str, Callable[[recipe_manager.RecipeManager], None]] = {
    "w8_a32_weight": _weight_only,
    "w8_a32_dynamic": _dynamic,
    "w8_a8_static": _static,
}
