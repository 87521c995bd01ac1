"""Quantization schemes: a name is a code, and this is its decoder.

``w<weight bits>_a<activation bits>_<how>``

========================  =========  ===========  =====================================================
name                      weights    activations  how
========================  =========  ===========  =====================================================
``w32_a32_float``         float32    float32      nothing is quantized: the baseline
``w16_a32_float``         float16    float32      weights stored in half precision, computed in float32
``w8_a32_weight``         int8       float32      weights stored in int8, dequantized, computed in float32
``w8_a32_dynamic``        int8       int8 on fly  activations quantized per call, results are float32
``w8_a8_static``          int8       int8         calibrated; float islands where int8 would be wrong
``w4_a32_weight``         int4       float32      as w8_a32_weight, two weights a byte
``w4_a32_dynamic``        int4       int8 on fly  as w8_a32_dynamic, two weights a byte
========================  =========  ===========  =====================================================

Weights are symmetric and signed; how many of them share a scale, and whether activations have a zero point, says
``Quantization`` (edgekit.spec.quantize). Never uint8: its kernels are slow and newer runtimes dropped them.

What is not offered, and why: ``w8_a16`` (int16 activations), whose kernels take 20 times as long as int8 ones;
bfloat16 storage, which neither LiteRT nor TorchScript's lite interpreter computes with on a CPU: it would be turned to
float32 at each load, with fewer digits than float16 at the same size.
"""

from __future__ import annotations

from typing import Dict, Literal, Tuple

Scheme = Literal[
    "w32_a32_float",
    "w16_a32_float",
    "w8_a32_weight",
    "w8_a32_dynamic",
    "w8_a8_static",
    "w4_a32_weight",
    "w4_a32_dynamic",
]
Format = Literal["tflite", "ptl", "onnx", "pte"]

#: Which schemes each format can be written in.
FORMAT_SCHEMES: Dict[str, Tuple[str, ...]] = {
    "tflite": (
        "w32_a32_float",
        "w16_a32_float",
        "w8_a32_weight",
        "w8_a32_dynamic",
        "w8_a8_static",
        "w4_a32_weight",
        "w4_a32_dynamic",
    ),
    "ptl": ("w32_a32_float", "w8_a32_dynamic"),
    "pte": ("w32_a32_float", "w8_a32_dynamic"),
    "onnx": ("w32_a32_float", "w16_a32_float", "w8_a32_weight", "w8_a32_dynamic", "w8_a8_static"),
}

#: Formats whose other schemes start from the file of one scheme, and which; the others start from the checkpoint.
STARTS_FROM: Dict[str, str] = {"tflite": "w32_a32_float", "onnx": "w32_a32_float"}

#: Formats whose integers are made as the recipe says; the others follow their runtime's own rules.
PLANNED: Tuple[str, ...] = ("tflite", "onnx")

#: Formats whose language models can write: their files have entry points over a cache of keys and values. The others
#: score a text: each of its next tokens, in one call without memory.
GENERATING: Tuple[str, ...] = ("tflite", "onnx")

#: Bits of a weight, in the schemes whose weights are whole numbers.
WEIGHT_BITS: Dict[str, int] = {
    "w8_a32_weight": 8,
    "w8_a32_dynamic": 8,
    "w8_a8_static": 8,
    "w4_a32_weight": 4,
    "w4_a32_dynamic": 4,
}
STATIC = "w8_a8_static"

#: Bits of a stored number, by its type. Whole numbers of 32 bits and more are no weights: biases of integer products,
#: token ids, shapes.
STORED_BITS: Dict[str, int] = {
    "float64": 64,
    "float32": 32,
    "float16": 16,
    "bfloat16": 16,
    "int8": 8,
    "uint8": 8,
    "qint8": 8,
    "quint8": 8,
    "int4": 4,
}


def weight_bits(scheme: str) -> int:
    """Bits of a weight under ``scheme``, as its name has them."""
    return int(scheme[1 : scheme.index("_")])
