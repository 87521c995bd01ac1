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
========================  =========  ===========  =====================================================

Weights are symmetric, signed, one scale a channel; activations are signed. Never uint8: its kernels are slow
and newer runtimes dropped them.
"""

from __future__ import annotations

from typing import Dict, Literal, Tuple

Scheme = Literal["w32_a32_float", "w16_a32_float", "w8_a32_weight", "w8_a32_dynamic", "w8_a8_static"]
Format = Literal["tflite", "ptl"]

#: Which schemes each format can be written in.
FORMAT_SCHEMES: Dict[str, Tuple[str, ...]] = {
    "tflite": ("w32_a32_float", "w8_a32_weight", "w8_a32_dynamic", "w8_a8_static"),
    "ptl": ("w32_a32_float", "w8_a32_dynamic"),
}

#: Formats whose other schemes start from the file of one scheme, and which; the others start from the checkpoint.
STARTS_FROM: Dict[str, str] = {"tflite": "w32_a32_float"}
