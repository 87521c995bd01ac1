"""Float .tflite → quantized .tflite, with ai-edge-quantizer: one rule a precision, one precision a matrix product.

Embeddings are whole numbers in every such scheme; the lookup turns the rows it picks into float. Everything but
lookups and matrix products with constant weights stays float: softmax, mask, layer norm, GELU and the products of
attention gain nothing from int8 (the table lookups and the extra conversions cost what they save) and lose exactness.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from edgekit.convert import flatbuffer, lean, names
from edgekit.convert.ranges import Range
from edgekit.errors import BuildError, MissingExtra
from edgekit.spec.quantize import Quantization
from edgekit.spec.scheme import WEIGHT_BITS

try:
    import numpy as np
    from ai_edge_quantizer import quantizer, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import (
        ComputePrecision,
        OpQuantizationConfig,
        QuantGranularity,
        TensorDataType,
        TensorQuantizationConfig,
        TFLOperationName,
    )
except ImportError as error:
    raise MissingExtra(error.name or "ai-edge-quantizer", "host") from error

#: How one matrix product computes.
Precision = Literal["static", "dynamic", "weight", "half", "float"]
#: What each scheme makes of a product that no rule of the recipe excepts.
PRECISION: dict[str, Precision] = {
    "w16_a32_float": "half",
    "w8_a32_weight": "weight",
    "w8_a32_dynamic": "dynamic",
    "w8_a8_static": "static",
    "w4_a32_weight": "weight",
    "w4_a32_dynamic": "dynamic",
}
_EVERYWHERE = ".*"
_PRODUCT, _LOOKUP = TFLOperationName.FULLY_CONNECTED, TFLOperationName.EMBEDDING_LOOKUP


@dataclass(frozen=True)
class Plan:
    """What each product becomes, by the module's name.

    ``precisions`` where it is not the scheme's own. ``inputs`` and ``outputs`` are ranges of activations, for those
    that are static. ``scales`` [out] of int8 weights, where they are not to follow from the weights' extremes.
    ``integer_results`` says whether what a static product gives is cut to int8, or stays float32.
    """

    scheme: str
    quantization: Quantization = field(default_factory=Quantization)
    precisions: Mapping[str, Precision] = field(default_factory=dict)
    inputs: Mapping[str, Range] = field(default_factory=dict)
    outputs: Mapping[str, Range] = field(default_factory=dict)
    scales: Mapping[str, np.ndarray] = field(default_factory=dict)
    integer_results: bool = True

    def precision(self, module: str) -> Precision:
        return self.precisions.get(module, PRECISION[self.scheme])


def quantize(float_file: Path, plan: Plan) -> bytes:
    """The content of ``float_file`` as ``plan`` has it.

    Raises BuildError where a range is missing, products that read one tensor have different ranges for it, weights
    cannot be cut into the blocks asked for or are not computed in int8, or the quantizer refuses.
    """
    model = flatbuffer.read(float_file)
    found = [one for products in names.products(model).values() for one in products]
    shapes = {one.name: one.shape for graph in model.subgraphs for one in graph.tensors}
    rows = {one.weight: shapes[one.weight][-1] for one in found}
    check_blocks({one.module: rows[one.weight] for one in found}, plan)
    rules = recipe_manager.RecipeManager()
    _add(rules, _EVERYWHERE, _LOOKUP, "half" if PRECISION[plan.scheme] == "half" else "dynamic", plan)
    # products of no module we know: never static, for want of ranges
    unknown = PRECISION[plan.scheme]
    _add(rules, _EVERYWHERE, _PRODUCT, "dynamic" if unknown == "static" else unknown, plan)
    alike: dict[tuple[Precision, bool], list[str]] = defaultdict(list)
    for one in found:
        # a row no longer than a block is one, with one scale
        cut = plan.quantization.block is not None and rows[one.weight] > plan.quantization.block
        alike[plan.precision(one.module), cut].append(re.escape(one.output))
    for (precision, cut), outputs in sorted(alike.items()):
        # the quantizer's scope of an operator: the names of its outputs, each with a semicolon
        scope = f"^({'|'.join(sorted(outputs))});?$"
        whole = replace(plan.quantization, block=None)
        _add(rules, scope, _PRODUCT, precision, plan if cut else replace(plan, quantization=whole))
    worker = quantizer.Quantizer(str(float_file), rules.get_quantization_recipe())
    try:
        result = worker.quantize(_statistics(found, plan), enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError) as error:
        raise BuildError(f"ai-edge-quantizer refuses: {error}", where=f"tflite/{plan.scheme}") from error
    return lean.shared(bytes(result.quantized_model))


def _statistics(found: list[names.Product], plan: Plan) -> dict[str, dict[str, np.ndarray]] | None:
    """Least and greatest value by tensor; for a weight, those whose scale is the one wanted."""
    bounds: dict[str, Range] = {}
    for one in found:
        if plan.precision(one.module) != "static":
            continue
        for ranges in (plan.inputs, plan.outputs):
            if one.module not in ranges:
                raise BuildError("no range for a static product", given=one.module, where=f"tflite/{plan.scheme}")
        wanted = plan.inputs[one.module]
        if bounds.setdefault(one.input, wanted) != wanted:
            raise BuildError(
                "products that read one tensor have different ranges for it",
                where=f"tflite/{plan.scheme}",
                given=f"{one.module}: {wanted}, before: {bounds[one.input]}",
                remedy="train them with one range for the input they share",
            )
    # where the next product reads the very tensor, a ReLU between them went into the first one: its output is what
    # comes after the ReLU, and so is the reader's range, also of one that is not static
    readers = {one.input: plan.inputs[one.module] for one in found if one.module in plan.inputs}
    for one in found:
        if plan.precision(one.module) == "static":
            bounds.setdefault(one.output, readers.get(one.output, plan.outputs[one.module]))
    statistics = {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, (low, high) in bounds.items()
    }
    for one in found:
        if one.module in plan.scales and plan.precision(one.module) in ("static", "dynamic", "weight"):
            reach = (plan.scales[one.module].astype(np.float64) * 127.0).astype(np.float32)[:, None]
            statistics[one.weight] = {"min": -reach, "max": reach}
    return statistics or None


def _add(
    rules: recipe_manager.RecipeManager, scope: str, kind: TFLOperationName, precision: Precision, plan: Plan
) -> None:
    if precision == "float":
        rules.add_quantization_config(scope, kind, None, AlgorithmName.NO_QUANTIZE)
    elif precision == "half":
        weights = TensorQuantizationConfig(16, dtype=TensorDataType.FLOAT)
        stored = OpQuantizationConfig(None, weights, ComputePrecision.FLOAT, explicit_dequantize=True)
        rules.add_quantization_config(scope, kind, stored, AlgorithmName.FLOAT_CASTING)
    else:
        rules.add_quantization_config(scope, kind, _INTEGER[precision](plan, kind), AlgorithmName.MIN_MAX_UNIFORM_QUANT)


def _weights(plan: Plan, kind: TFLOperationName) -> TensorQuantizationConfig:
    asked, bits = plan.quantization, WEIGHT_BITS[plan.scheme]
    if asked.weights == "tensor":
        granularity = QuantGranularity.TENSORWISE
    elif asked.block is not None and bits == 4 and kind is _PRODUCT:
        granularity = QuantGranularity(f"BLOCKWISE_{asked.block}")
    else:
        granularity = QuantGranularity.CHANNELWISE
    return TensorQuantizationConfig(bits, symmetric=True, granularity=granularity)


def _static(plan: Plan, kind: TFLOperationName) -> OpQuantizationConfig:
    activations = TensorQuantizationConfig(8, symmetric=plan.quantization.activations == "symmetric")
    return OpQuantizationConfig(activations, _weights(plan, kind), ComputePrecision.INTEGER)


_INTEGER: dict[str, Callable[[Plan, TFLOperationName], OpQuantizationConfig]] = {
    "static": _static,
    "dynamic": lambda plan, kind: OpQuantizationConfig(None, _weights(plan, kind), ComputePrecision.INTEGER),
    "weight": lambda plan, kind: OpQuantizationConfig(
        None, _weights(plan, kind), ComputePrecision.FLOAT, explicit_dequantize=True
    ),
}


def check_blocks(rows: Mapping[str, int], plan: Plan) -> None:
    """Raise BuildError where weights, by module the length of their ``rows``, cannot be cut into the blocks asked for,
    or are not computed in int8."""
    block = plan.quantization.block
    if block is None or WEIGHT_BITS.get(plan.scheme) != 4:
        return
    if PRECISION[plan.scheme] != "dynamic":
        raise BuildError(
            "no runtime turns weights in blocks to float",
            where=f"tflite/{plan.scheme}",
            given=f"block {block}",
            remedy="leave out convert.quantization.block, or take w4_a32_dynamic",
        )
    for name, length in rows.items():
        if plan.precision(name) != "float" and length > block and length % block:
            raise BuildError(
                "the rows of a weight cannot be cut into blocks of this size",
                where=f"tflite/{plan.scheme}",
                given=f"block {block}, {name} has rows of {length}",
                allowed="a divisor of every longer row's length, or no block: one scale a row",
            )
