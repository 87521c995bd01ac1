"""The structure file: what a compressed checkpoint looks like inside, so that it can be built again."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import SpecError

SCHEMA = 1
FILE = "edgekit.json"


@dataclass(frozen=True)
class Layer:
    """One layer: how many attention heads, how many feed-forward neurons. ``weights`` is the number of the layer whose
    weights it computes with; ``None`` means its own."""

    heads: int
    ffn: int
    weights: int | None = None


@dataclass(frozen=True)
class Factor:
    """The projection or embedding ``name`` (dotted, in the module) is a product of two narrow ones of ``rank``."""

    name: str
    rank: int


@dataclass(frozen=True)
class Hashing:
    """The word embedding ``name`` holds ``buckets`` rows; a token's vector is the sum of ``hashes`` of them."""

    name: str
    buckets: int
    hashes: int


@dataclass(frozen=True)
class Codebook:
    """The weight ``name`` holds no more than ``values`` different numbers."""

    name: str
    values: int


@dataclass(frozen=True)
class Structure:
    """``edgekit.json`` beside the weights. ``head_size`` in elements, ``vocabulary`` in tokens. ``teacher_layers`` says
    for each layer which one of the original model it was copied from."""

    family: str
    labels: tuple[str, ...]
    layers: tuple[Layer, ...]
    head_size: int
    hidden: int
    vocabulary: int
    teacher_layers: tuple[int, ...]
    factors: tuple[Factor, ...] = ()
    hashing: Hashing | None = None
    codebooks: tuple[Codebook, ...] = ()
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown structure schema", where="$.schema", given=self.schema, allowed=SCHEMA)
        if len(self.layers) != len(self.teacher_layers):
            raise SpecError(
                "one teacher layer for each layer", where="$.teacher_layers", given=len(self.teacher_layers)
            )

    def macs(self, length: int) -> int:
        """Multiply-accumulates of the encoder for one text of ``length`` tokens."""
        total = 0
        for layer in self.layers:
            width = layer.heads * self.head_size
            total += length * (4 * self.hidden * width + 2 * self.hidden * layer.ffn) + 2 * length * length * width
        return total
