from __future__ import annotations

import pytest

from edgekit.errors import SpecError
from edgekit.spec.quantize import Calibration, Convert, Mixed, Quantization


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        (Quantization(smooth=0.5), "smooth"),
        (Quantization(bias_correction=True), "bias_correction"),
        (Quantization(weights="tensor"), "weights"),
        (Quantization(mixed=Mixed(float32=("classifier",))), "mixed.float32"),
    ],
)
def test_a_float_scheme_alone_cannot_take_what_makes_integers(asked: Quantization, place: str) -> None:
    with pytest.raises(SpecError, match="none of the schemes") as caught:
        Convert(schemes=("w32_a32_float", "w16_a32_float"), quantization=asked)
    assert caught.value.where == f"$.quantization.{place}"
    Convert(schemes=("w32_a32_float", "w8_a32_dynamic"), quantization=asked)


def test_learned_rounding_needs_int8_weights() -> None:
    with pytest.raises(SpecError, match="none of the schemes") as caught:
        Convert(schemes=("w4_a32_dynamic",), quantization=Quantization(rounding="learned"))
    assert "w8_a8_static" in str(caught.value)


def test_only_static_int8_has_a_zero_point_and_a_sensitivity() -> None:
    for asked in (Quantization(activations="symmetric"), Quantization(mixed=Mixed(sensitivity=30))):
        with pytest.raises(SpecError, match="none of the schemes"):
            Convert(schemes=("w8_a32_dynamic",), quantization=asked)
        Convert(schemes=("w8_a8_static",), quantization=asked)


def test_blocks_are_for_int4_and_of_a_size_the_runtime_has() -> None:
    with pytest.raises(SpecError, match="blocks of this size") as caught:
        Quantization(block=48)
    assert "32, 64, 128, 256" in str(caught.value)
    with pytest.raises(SpecError, match="none of the schemes"):
        Convert(schemes=("w8_a32_dynamic",), quantization=Quantization(block=32))
    with pytest.raises(SpecError, match="contradicts"):
        Quantization(block=32, weights="tensor")
    Convert(schemes=("w4_a32_dynamic",), quantization=Quantization(block=32))


def test_only_tflite_can_be_told() -> None:
    with pytest.raises(SpecError, match="only the quantization of tflite"):
        Convert(formats=("ptl",), schemes=("w8_a32_dynamic",), quantization=Quantization(weights="tensor"))


def test_a_pattern_in_both_lists_is_refused() -> None:
    with pytest.raises(SpecError, match="not both"):
        Mixed(float32=("classifier",), dynamic=("classifier",))


def test_one_text_is_too_few_to_calibrate_on() -> None:
    with pytest.raises(SpecError, match="too small"):
        Calibration(samples=1)


def test_texts_are_read_where_something_is_measured() -> None:
    assert Quantization().reads_texts("w8_a8_static")
    assert not Quantization().reads_texts("w8_a32_dynamic")
    assert Quantization(smooth=0.5).reads_texts("w8_a32_dynamic")
    assert not Quantization(rounding="stochastic").reads_texts("w8_a32_dynamic")
    assert not Quantization(smooth=0.5).reads_texts("w16_a32_float")
