"""The recipe's conversion: formats, schemes, and how integers come to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least, within
from edgekit.spec.scheme import FORMAT_SCHEMES, GENERATING, PLANNED, STATIC, WEIGHT_BITS, Format, Scheme

BLOCKS = (32, 64, 128, 256)


@dataclass(frozen=True)
class Calibration:
    """How the ranges of static int8 activations are found, on ``samples`` training texts.

    ``ranges`` names the method. ``minmax`` takes the extremes. ``percentile`` cuts ``100 - percentile`` % of the
    values off each tail. ``mse`` takes the clipping that loses the least squared error (Banner 2019). ``entropy``
    takes the one whose quantized histogram diverges least from the true one (KL; Migacz 2017). ``sigma`` reaches
    ``sigmas`` standard deviations to each side of the mean. ``linear`` fits the extremes of each text as a linear
    function of √(2·ln n), n being the number of its values, and takes the ``quantile`` of what it predicts for the
    longest text.
    """

    samples: int = 256
    ranges: Literal["minmax", "percentile", "mse", "entropy", "sigma", "linear"] = "mse"
    percentile: float = 99.99
    sigmas: float = 6.0
    quantile: float = 0.99

    def __post_init__(self) -> None:
        at_least(self.samples, 2, "samples")
        within(self.percentile, 50.0, 100.0, "percentile")
        within(self.sigmas, 1.0, 100.0, "sigmas")
        within(self.quantile, 0.5, 0.9999, "quantile")


@dataclass(frozen=True)
class Mixed:
    """Which matrix products keep more precision than the scheme gives.

    Static, one rule for the model: ``float32`` and ``dynamic`` name them, as ``fnmatch`` patterns over dotted module
    names (``*.layer.0.*``, ``classifier``); the first stay float32, the second have int8 weights and activations
    quantized per call. Dynamic, by measurement, in ``w8_a8_static``: a product whose input or output would keep less
    than ``fidelity`` dB in int8 is computed dynamically. Then, where ``sensitivity`` is given, the products whose int8
    costs the logits most go to dynamic and further to float, those first that give the most for a weight, until the
    logits keep ``sensitivity`` dB of signal to quantization noise on the calibration texts.
    """

    float32: Tuple[str, ...] = ()
    dynamic: Tuple[str, ...] = ()
    fidelity: float = 27.0
    sensitivity: Optional[float] = None

    def __post_init__(self) -> None:
        within(self.fidelity, 0.0, 60.0, "fidelity")
        if self.sensitivity is not None:
            within(self.sensitivity, 1.0, 80.0, "sensitivity")
        both = sorted(set(self.float32) & set(self.dynamic))
        if both:
            raise SpecError(
                "a product is float or dynamic, not both",
                where="$.dynamic",
                given=", ".join(both),
                remedy="name it once",
            )


@dataclass(frozen=True)
class Quantization:
    """How weights and activations become integers; each field on its own, in every scheme that has such.

    ``weights`` share a scale per output ``channel`` or in the whole ``tensor``; with ``block`` a scale is shared by
    that many neighbours in a row (``w4_a32_dynamic`` only). ``activations`` are ``affine`` (any zero point) or
    ``symmetric`` (zero point 0), in ``w8_a8_static``. ``smooth`` moves the share alpha of each channel's size from the
    activations, which are divided first, into the weights (SmoothQuant, Xiao 2023). ``rounding`` of weights is to
    the ``nearest`` integer, ``stochastic`` (up with the probability of the remainder; Gupta 2015) or ``learned`` layer
    by layer on the calibration texts (AdaRound, Nagel 2020). ``bias_correction`` takes the mean error of each product,
    measured on the calibration texts, out of its bias (Nagel 2019). ``mixed`` keeps chosen products more precise.
    """

    weights: Literal["channel", "tensor"] = "channel"
    block: Optional[int] = None
    activations: Literal["affine", "symmetric"] = "affine"
    smooth: Optional[float] = None
    rounding: Literal["nearest", "stochastic", "learned"] = "nearest"
    bias_correction: bool = False
    mixed: Mixed = field(default_factory=Mixed)

    def __post_init__(self) -> None:
        if self.smooth is not None:
            within(self.smooth, 0.0, 1.0, "smooth")
        if self.block is not None and self.block not in BLOCKS:
            raise SpecError("no runtime has blocks of this size", where="$.block", given=self.block, allowed=BLOCKS)
        if self.block is not None and self.weights == "tensor":
            raise SpecError(
                "one scale a block contradicts one scale a tensor",
                where="$.block",
                given="weights: tensor, block: {}".format(self.block),
                remedy="leave one of them out",
            )

    def reads_texts(self, scheme: str) -> bool:
        """Whether writing ``scheme`` needs calibration texts."""
        return scheme == STATIC or (
            scheme in WEIGHT_BITS and (self.smooth is not None or self.rounding == "learned" or self.bias_correction)
        )


@dataclass(frozen=True)
class Generation:
    """A language model's file can also generate: ``context`` is how many tokens its cache of keys and values holds. A
    model with a table of positions (gpt2) reads and writes up to so many tokens, and may have no fewer positions; of
    Transformer-XL it is how far it looks back, and a text may have any length. A classifier of these families follows a
    stream of texts with it, each answered by all that came before. Of a prompt ``chunk`` tokens are read at
    once, so that the weights are read that many times less often; the last ones are padded."""

    context: int = 512
    chunk: int = 16

    def __post_init__(self) -> None:
        at_least(self.context, 4, "context")
        within(self.chunk, 2, self.context, "chunk")


@dataclass(frozen=True)
class Convert:
    """Which ``formats`` and ``schemes`` become candidates; the best measured one that meets the gates ships.
    ``calibration`` and ``quantization`` say how those of integers are made; formats other than tflite and onnx know
    none of it and quantize to their runtime's own rules. ``unfit`` says what becomes of a format, or a scheme, that the
    target cannot run: the recipe is refused, or, with ``drop``, it is left out, and told, as long as another runs.
    With ``generation`` a language model's files go on with texts, which tflite and onnx files can, and a classifier's
    follow a stream, which tflite files can."""

    formats: Tuple[Format, ...] = ("tflite",)
    schemes: Tuple[Scheme, ...] = ("w32_a32_float", "w8_a32_dynamic", "w8_a8_static")
    calibration: Calibration = field(default_factory=Calibration)
    quantization: Quantization = field(default_factory=Quantization)
    generation: Optional[Generation] = None
    unfit: Literal["refuse", "drop"] = "refuse"

    @property
    def context(self) -> int:
        """How many tokens the cache of a language model that generates holds; 0 where none is to."""
        return 0 if self.generation is None else self.generation.context

    def __post_init__(self) -> None:
        unable = [one for one in self.formats if one not in GENERATING]
        if self.generation is not None and unable:
            raise SpecError(
                "{} files score texts, they do not generate".format(" and ".join(unable)),
                where="$.formats",
                given=list(self.formats),
                allowed=list(GENERATING),
                remedy="leave them out, or generation: with generation every file must be able to, for any may ship",
            )
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
        self._check_quantization()

    def _check_quantization(self) -> None:
        """Refuse what no scheme of the recipe can take."""
        asked, plain = self.quantization, Quantization()
        integer = [one for one, bits in WEIGHT_BITS.items() if bits]
        int8 = [one for one, bits in WEIGHT_BITS.items() if bits == 8]
        takers = {
            "weights": (asked.weights != plain.weights, integer),
            "block": (asked.block is not None, ["w4_a32_dynamic"]),
            "activations": (asked.activations != plain.activations, [STATIC]),
            "smooth": (asked.smooth is not None, integer),
            "rounding": (asked.rounding != plain.rounding, int8),
            "bias_correction": (asked.bias_correction, integer),
            "mixed.float32": (bool(asked.mixed.float32), integer),
            "mixed.dynamic": (bool(asked.mixed.dynamic), [STATIC]),
            "mixed.sensitivity": (asked.mixed.sensitivity is not None, [STATIC]),
        }
        for name, (used, able) in takers.items():
            if used and not set(self.formats) & set(PLANNED):
                raise SpecError(
                    "only the quantization of {} can be told this".format(" and ".join(PLANNED)),
                    where="$.quantization." + name,
                    given=list(self.formats),
                    remedy="leave it out, or add the format tflite",
                )
            if used and not set(able) & set(self.schemes):
                raise SpecError(
                    "none of the schemes can take this",
                    where="$.quantization." + name,
                    given=list(self.schemes),
                    allowed=able,
                    remedy="leave it out, or add one of these schemes",
                )
