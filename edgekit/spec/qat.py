"""The recipe's quantization-aware training: for which grid, with which clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Sequence

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least, within
from edgekit.spec.quantize import Convert, Quantization
from edgekit.spec.scheme import STATIC, WEIGHT_BITS
from edgekit.spec.training import Recovery

#: Schemes whose integers a module can compute with while it trains.
QatScheme = Literal["w8_a8_static", "w8_a32_dynamic", "w4_a32_dynamic"]


@dataclass(frozen=True)
class Qat(Recovery):
    """Train with the runtime's own integer arithmetic in the forward pass and straight-through gradients (Jacob 2018).

    ``scheme`` is the grid to train for; conversion in that scheme then needs no calibration. ``clipping`` says where
    ranges come from: ``observed`` keeps what calibration found, ``lsq`` learns the step of every tensor and of every
    channel's weights (Esser 2020), ``pact`` learns the thresholds that activations are clipped at (Choi 2018), which
    are kept small by an L2 penalty of ``clip_decay``.
    ``samples`` training texts are what ranges are calibrated on; a product whose input or output would keep a signal
    to noise ratio under ``fidelity`` dB is left dynamic (0: none is).
    ``epochs`` 0 only calibrates.
    """

    scheme: QatScheme = "w8_a8_static"
    clipping: Literal["observed", "lsq", "pact"] = "lsq"
    clip_decay: float = 1e-4
    samples: int = 256
    fidelity: float = 27.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self.samples, 2, "samples")
        within(self.clip_decay, 0.0, 1.0, "clip_decay")
        within(self.fidelity, 0.0, 100.0, "fidelity")
        if self.clipping == "pact" and not self.static:
            raise SpecError(
                "pact learns where activations are clipped, and this scheme takes their ranges anew at each call",
                where="$.clipping",
                given="{} with {}".format(self.clipping, self.scheme),
                allowed=["observed", "lsq"],
                remedy="scheme: w8_a8_static, or clipping: lsq",
            )
        if self.precision != "float32":
            raise SpecError(
                "the integers are computed exactly, which takes float32",
                where="$.precision",
                given=self.precision,
                allowed="float32",
            )

    @property
    def bits(self) -> int:
        """How many bits a weight has."""
        return WEIGHT_BITS[self.scheme]

    @property
    def static(self) -> bool:
        """Whether activations have ranges of their own, fixed before the file runs."""
        return self.scheme == STATIC


def check_qat(options: Qat, number: int, later: Sequence[str], convert: Convert) -> None:
    """Raise SpecError where what comes after the step, which is the recipe's ``number``-th (from 0), would leave its
    grid: steps that change weights, or a conversion to another one."""
    where = "$.compress[{}].qat".format(number)
    changing = [one for one in later if one != "vocabulary"]
    if changing:
        raise SpecError(
            "a step after qat moves the weights off the grid they were trained on",
            where=where,
            given="qat, then {}".format(", ".join(changing)),
            allowed="vocabulary",
            remedy="make qat the last step",
        )
    if options.scheme not in convert.schemes:
        raise SpecError(
            "the model is trained for a grid that no file will have",
            where=where + ".scheme",
            given=options.scheme,
            allowed=list(convert.schemes),
            remedy="add it to convert.schemes",
        )
    asked, plain = convert.quantization, Quantization()
    for name in ("weights", "block", "activations", "smooth", "rounding", "bias_correction"):
        if getattr(asked, name) != getattr(plain, name):
            raise SpecError(
                "the conversion would leave the grid that qat trained on",
                where="$.convert.quantization." + name,
                given=getattr(asked, name),
                allowed=getattr(plain, name),
                remedy="leave it out, or the step qat",
            )
