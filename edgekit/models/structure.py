"""The structure file: what a compressed checkpoint looks like inside, so that it can be built again."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.errors import SpecError
from edgekit.spec.task import CLASSIFY, LANGUAGE, NATURES, Task

SCHEMA = 1
FILE = "edgekit.json"
#: In the dotted names of all families: the number of a layer, its attention, its keys and values, the word embedding.
_NUMBER = re.compile(r"\.(\d+)\.")
_ATTENTION = re.compile(r"\.(attention|attn)\.")
_STATES = re.compile(r"\.(key|value|k_lin|v_lin)$")
_EMBEDDINGS = (".word_embeddings", ".wte")
#: Families whose scores have a product of queries with distances in them.
_BY_DISTANCE = ("transformer-xl",)


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
    """``edgekit.json`` beside the weights. ``head_size`` in elements, ``vocabulary`` in tokens; the ``hidden`` width
    need not be heads × head size. ``teacher_layers`` says for each layer which one of the original model it was copied
    from, or stands in for. ``pooled`` is the width between the classifier's two projections, where it is not the hidden
    width. ``task`` is what the model answers: the class of a text, each next token (it then has no labels), the tag of
    each word, or its embedding (it then has no labels as well)."""

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
    pooled: int | None = None
    task: Task = CLASSIFY
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown structure schema", where="$.schema", given=self.schema, allowed=SCHEMA)
        if len(self.layers) != len(self.teacher_layers):
            raise SpecError(
                "one teacher layer for each layer", where="$.teacher_layers", given=len(self.teacher_layers)
            )

    def macs(self, length: int) -> int:
        """Multiply-accumulates of the exported layers for one text of ``length`` tokens, of a factored embedding, and
        of a language model's output.

        The classifier reads one token, so the last layer computes one, and applies the projections of keys and values
        once for each head (:mod:`edgekit.convert.module`); all others compute every token, and a language
        model tells the next one of each. A classifier's own head, and ALBERT's own embedding projection, are
        not counted.
        """
        every = NATURES[self.task].reads_all
        total = length * self.hidden * self.vocabulary if self.task == LANGUAGE else 0
        total += sum(length * one.rank * self.hidden for one in self.factors if one.name.endswith(_EMBEDDINGS))
        for number, layer in enumerate(self.layers):
            last, width = number == len(self.layers) - 1 and not every, layer.heads * self.head_size
            product = 4 * self.hidden * width + 2 * self.hidden * layer.ffn
            for factor in self._factors(number if layer.weights is None else layer.weights):
                if not (last and _STATES.search(factor.name)):
                    wide = width if _ATTENTION.search(factor.name) else layer.ffn
                    product += factor.rank * (self.hidden + wide) - self.hidden * wide
            if last:
                total += product + 2 * layer.heads * length * self.hidden
                if self.family in _BY_DISTANCE:
                    # of one query with every distance, and each score to its place
                    total += length * width + layer.heads * length * length
            else:
                total += length * product + (3 if self.family in _BY_DISTANCE else 2) * length * length * width
        return total

    def _factors(self, layer: int) -> list[Factor]:
        return [one for one in self.factors if (found := _NUMBER.search(one.name)) and int(found[1]) == layer]
