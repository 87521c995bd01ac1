"""How much of a file is in its scheme's precision."""

import pytest

from edgekit.errors import SpecError
from edgekit.spec.manifest import Realised
from edgekit.spec.recipe import Gates


@pytest.mark.parametrize(
    ("scheme", "weights", "share"),
    [
        ("w32_a32_float", {"float32": 400}, 100.0),
        ("w8_a8_static", {"float32": 400, "int8": 300, "int32": 80}, 75.0),
        ("w8_a32_dynamic", {"qint8": 300, "float32": 400}, 75.0),
        ("w16_a32_float", {"float16": 200, "float32": 400}, 50.0),
        ("w4_a32_weight", {"int4": 150, "int8": 100}, 75.0),
        ("w8_a8_static", {"int8": 100, "int4": 50}, 100.0),
    ],
)
def test_coverage_counts_weights_not_bytes_and_no_biases(scheme: str, weights: dict[str, int], share: float) -> None:
    assert Realised(weight_bytes=weights).coverage(scheme) == pytest.approx(share)


def test_a_file_that_tells_no_weights_has_no_coverage() -> None:
    assert Realised(weight_bytes={"int32": 8}).coverage("w8_a8_static") is None


def test_the_coverage_gate_is_a_share() -> None:
    with pytest.raises(SpecError, match="share in per cent"):
        Gates(coverage=101.0)
