"""The recipe's distillation: which student, from whom, by which losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional, Tuple, Union

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least, within
from edgekit.spec.training import Learning


@dataclass(frozen=True)
class Student:
    """How the student's layers are made of the teacher's, and how wide they are; what is left out stays as it is.

    ``start`` says what a kept layer starts as, which stands in for all the teacher's layers from its own to the next
    kept one: ``chosen`` is the layer itself, ``averaged`` the mean of their weights, ``folded`` the layer plus the
    others' differences from it (LaCo, Yang 2024). ``hidden`` is the width between the layers, cut by PCA of the
    residual stream (SVD of the hidden states on training texts): layer norms do not commute with that, so they are
    fitted, and the student is close at best. ``heads`` and ``ffn`` are how many of each layer's heads and feed-forward
    neurons stay: those whose weights are greatest. ``activation`` replaces the feed-forward's
    (``same``: it stays).

    ``fresh`` keeps no layer: ``layers`` new ones are drawn as the family draws its own, of any widths, and the word and
    position embeddings are the teacher's in their strongest directions (PCA of the centred word embeddings).
    ``positions`` is how many rows the position table keeps, as the file holds them all: no fewer than the longest
    bucket. ``dropout`` is the share of states that is dropped while it trains, wherever the family drops any; left out,
    as the teacher's.
    """

    start: Literal["chosen", "averaged", "folded", "fresh"] = "chosen"
    layers: Optional[int] = None
    hidden: Optional[int] = None
    heads: Optional[int] = None
    ffn: Optional[int] = None
    activation: Literal["same", "relu", "gelu"] = "same"
    positions: Optional[int] = None
    dropout: Optional[float] = None

    def __post_init__(self) -> None:
        for name in ("hidden", "ffn"):
            width = getattr(self, name)
            if width is not None and (width < 8 or width % 8):
                raise SpecError("widths are multiples of 8, as the kernels work", where="$." + name, given=width)
        for name in ("heads", "layers", "positions"):
            if getattr(self, name) is not None:
                at_least(getattr(self, name), 1, name)
        if self.dropout is not None:
            within(self.dropout, 0.0, 0.9, "dropout")
        if self.layers is not None and self.start != "fresh":
            raise SpecError(
                "only a fresh student has any number of layers; another keeps chosen ones of its teacher",
                where="$.layers",
                given=self.layers,
                remedy="start: fresh, or name the layers to keep: distill.layers",
            )
        if self.start == "fresh" and self.hidden is not None and self.heads is not None and self.hidden % self.heads:
            raise SpecError(
                "the heads of a fresh student share its hidden width evenly",
                where="$.heads",
                given="{} heads, hidden {}".format(self.heads, self.hidden),
            )


@dataclass(frozen=True)
class Distill(Learning):
    """Train a student made of chosen teacher ``layers`` (none named: all of them; a fresh student keeps none) from the
    teacher.

    ``student`` says what those layers start as. ``teachers`` are more teachers, whose logits are averaged with the
    teacher's: folders of checkpoints, relative to the recipe, or numbers of earlier steps of this recipe (the first is
    1). ``teacher_weights`` are the weights of that mean, the teacher's own first; left out, all weigh the same.
    """

    layers: Tuple[int, ...] = ()
    student: Student = field(default_factory=Student)
    teachers: Tuple[Union[int, str], ...] = ()
    teacher_weights: Tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.layers) != sorted(set(self.layers)):
            raise SpecError(
                "name the teacher layers the student keeps, rising", where="$.layers", given=list(self.layers)
            )
        if self.student.start == "fresh" and self.layers:
            raise SpecError(
                "a fresh student keeps no layer of its teacher",
                where="$.layers",
                given=list(self.layers),
                remedy="say how many it has: student.layers: {}, or start: chosen".format(len(self.layers)),
            )
        if self.student.start in ("averaged", "folded") and not self.layers:
            raise SpecError(
                "a student of all layers has no groups of them to start from",
                where="$.student.start",
                given=self.student.start,
                remedy="name the first layer of each group: layers: [0, 3]",
            )
        if self.teachers and not self.losses.logits:
            raise SpecError(
                "several teachers teach through their logits, which have no weight here",
                where="$.teachers",
                given=list(self.teachers),
                remedy="give losses.logits a weight, or leave teachers out",
            )
        if self.teacher_weights and len(self.teacher_weights) != 1 + len(self.teachers):
            raise SpecError(
                "one weight for the teacher and one for each of teachers",
                where="$.teacher_weights",
                given=list(self.teacher_weights),
                allowed="{} weights".format(1 + len(self.teachers)),
            )
        if self.teacher_weights and (min(self.teacher_weights) < 0 or not sum(self.teacher_weights)):
            raise SpecError(
                "weights of a mean are 0 or more, and not all 0",
                where="$.teacher_weights",
                given=list(self.teacher_weights),
            )
