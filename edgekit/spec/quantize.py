"""The recipe's conversion: formats, schemes, and how int8 comes to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Tuple

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least, within
from edgekit.spec.scheme import FORMAT_SCHEMES, Format, Scheme


@dataclass(frozen=True)
class Calibration:
    """How the ranges of static int8 activations are found on training texts.

    ``minmax`` takes the extremes, ``percentile`` cuts ``100 - percentile`` % of the values off each tail, ``mse``
    takes the clipping that loses the least squared error.
    """

    samples: int = 256
    ranges: Literal["minmax", "percentile", "mse"] = "mse"
    percentile: float = 99.99

    def __post_init__(self) -> None:
        at_least(self.samples, 2, "samples")
        within(self.percentile, 50.0, 100.0, "percentile")


@dataclass(frozen=True)
class Convert:
    """Which formats and schemes become candidates; the best measured one that meets the gates ships."""

    formats: Tuple[Format, ...] = ("tflite",)
    schemes: Tuple[Scheme, ...] = ("w32_a32_float", "w8_a32_dynamic", "w8_a8_static")
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        if not self.formats or not self.schemes:
            raise SpecError("name at least one format and one scheme", where="$.formats")
        for name in self.formats:
            if not set(FORMAT_SCHEMES[name]) & set(self.schemes):
                raise SpecError(
                    "none of the schemes can be written as {}".format(name),
                    where="$.schemes",
                    given=list(self.schemes),
                    allowed=FORMAT_SCHEMES[name],
                )
        held = sorted({one for name in self.formats for one in FORMAT_SCHEMES[name]})
        for scheme in self.schemes:
            if scheme not in held:
                raise SpecError(
                    "none of the formats can hold this scheme",
                    where="$.schemes",
                    given=scheme,
                    allowed=held,
                    remedy="leave it out, or name a format that holds it",
                )
