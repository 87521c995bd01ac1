"""The recipe's pruning: what is cut, by which measure, how it is spread over the layers, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least, within
from edgekit.spec.training import Recovery

Criterion = Literal["taylor", "magnitude", "fpgm", "activation", "movement", "proxy", "random"]
Scope = Literal["layer", "global", "sensitivity"]

#: What each criterion can measure.
MEASURES: Dict[str, Tuple[str, ...]] = {
    "taylor": ("heads", "ffn", "hidden", "layers", "sparsity"),
    "magnitude": ("heads", "ffn", "hidden", "layers", "sparsity"),
    "random": ("heads", "ffn", "hidden", "layers", "sparsity"),
    "movement": ("heads", "ffn", "hidden", "sparsity"),
    "fpgm": ("heads", "ffn", "hidden"),
    "activation": ("heads", "ffn", "hidden"),
    "proxy": ("heads", "ffn"),
}
#: Widths are multiples of this, as the kernels work.
STEP = 8


@dataclass(frozen=True)
class Prune(Recovery):
    """Cut what matters least, then recover from the teacher.

    What is cut: ``heads`` and ``ffn`` are how many attention heads and feed-forward neurons a layer keeps.
    ``hidden`` is how wide the stream between the layers stays, and ``layers`` how many whole layers stay.
    These shrink the matrices; what is left out stays as it is.
    ``sparsity`` instead is the share of the layers' single weights that become zero, in matrices of the same size;
    dense kernels compute no faster from that, the file only compresses better. A step that trains afterwards would fill
    the zeros, and is refused.
    ``block`` [rows, columns] makes whole blocks of weights zero instead of single ones.

    By which measure: ``criterion`` is ``taylor`` (change of the loss to first order), ``magnitude``, ``fpgm`` (distance
    from the geometric median), ``activation`` (how often a neuron answers), ``movement`` (scores learned in training),
    ``proxy`` (a regression from weight statistics alone, no data asked) or ``random`` (to compare with).
    ``samples`` training texts are what a criterion, or a layer's sensitivity, is measured on.

    How it is spread: ``scope`` is ``layer`` (each layer keeps the same), ``global`` (the same in total, the best of all
    layers by the criterion) or ``sensitivity`` (the same in total, each layer's own share by the loss it costs).
    ``candidates`` draws as many random spreads of the same total instead and keeps the best, statistics adapted.

    When: ``schedule`` is ``once`` (cut, then recover) or ``cubic`` (mask ever more while training, cut at the end).
    ``rise`` are the shares of that training, 0.1 and 0.7 unless told, between which the masked part grows.
    """

    heads: Optional[int] = None
    ffn: Optional[int] = None
    hidden: Optional[int] = None
    layers: Optional[int] = None
    sparsity: Optional[float] = None
    block: Tuple[int, ...] = ()
    criterion: Criterion = "taylor"
    scope: Scope = "layer"
    candidates: int = 0
    schedule: Literal["once", "cubic"] = "once"
    rise: Tuple[float, ...] = ()
    samples: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cuts:
            raise SpecError(
                "nothing to prune", where="$", allowed="heads, ffn, hidden, layers or sparsity", remedy="ffn: 768"
            )
        for name in ("ffn", "hidden"):
            width = getattr(self, name)
            if width is not None and (width < STEP or width % STEP):
                raise SpecError("widths are multiples of 8, as the kernels work", where="$." + name, given=width)
        for name in ("heads", "layers"):
            if getattr(self, name) is not None:
                at_least(getattr(self, name), 1, name)
        at_least(self.samples, 8, "samples")
        self._check_sparsity()
        self._check_criterion()
        self._check_scope()
        self._check_schedule()

    @property
    def cuts(self) -> List[str]:
        """Which of ``heads``, ``ffn``, ``hidden``, ``layers`` and ``sparsity`` are asked for."""
        return [one for one in MEASURES["taylor"] if getattr(self, one) is not None]

    @property
    def ramp(self) -> Tuple[float, float]:
        """``rise``, or its default."""
        return (self.rise[0], self.rise[1]) if self.rise else (0.1, 0.7)

    def _check_sparsity(self) -> None:
        if self.sparsity is not None:
            within(self.sparsity, 0.01, 0.99, "sparsity")
            if len(self.cuts) > 1:
                raise SpecError(
                    "single weights and whole parts are not cut in one step",
                    where="$.sparsity",
                    given=", ".join(self.cuts),
                    allowed="sparsity, or any of heads, ffn, hidden and layers",
                    remedy="write two steps prune: first the parts, then the weights",
                )
        if self.block:
            if self.sparsity is None:
                raise SpecError(
                    "a block says which weights become zero together, and none do",
                    where="$.block",
                    given=list(self.block),
                    allowed="block together with sparsity",
                    remedy="add sparsity: 0.5, or leave block out",
                )
            if len(self.block) != 2 or min(self.block) < 1:
                raise SpecError("a block is [rows, columns]", where="$.block", given=list(self.block), allowed="[4, 1]")

    def _check_criterion(self) -> None:
        beyond = [one for one in self.cuts if one not in MEASURES[self.criterion]]
        if beyond:
            able = [name for name, cuts in MEASURES.items() if set(self.cuts) <= set(cuts)]
            raise SpecError(
                "criterion {!r} does not measure {}".format(self.criterion, " and ".join(beyond)),
                where="$.criterion",
                given=self.criterion,
                allowed=able,
                remedy="take one of those, or write a step of its own for {}".format(" and ".join(beyond)),
            )
        if self.criterion == "movement" and self.schedule == "once":
            raise SpecError(
                "movement's scores are learned in training: there are none to cut by before it",
                where="$.schedule",
                given="once",
                allowed="cubic",
                remedy="schedule: cubic, or criterion: taylor",
            )

    def _check_scope(self) -> None:
        spread = [one for one in self.cuts if one in ("heads", "ffn", "sparsity")]
        if self.scope != "layer" and not spread:
            raise SpecError(
                "the layers have no shares of {} to differ in".format(" and ".join(self.cuts)),
                where="$.scope",
                given=self.scope,
                allowed="layer",
            )
        if self.scope == "sensitivity" and self.criterion == "movement":
            raise SpecError(
                "a layer's sensitivity is measured before training, when movement has no scores yet",
                where="$.scope",
                given=self.scope,
                allowed="layer, global",
                remedy="criterion: taylor",
            )
        if self.candidates:
            self._check_candidates()

    def _check_candidates(self) -> None:
        at_least(self.candidates, 2, "candidates")
        clashes = [
            (self.heads is None and self.ffn is None, "cuts without heads and ffn"),
            (self.scope != "layer", "scope: {}".format(self.scope)),
            (self.schedule != "once", "schedule: {}".format(self.schedule)),
        ]
        for clash, name in clashes:
            if clash:
                raise SpecError(
                    "candidates differ in how heads and ffn are spread over the layers, and are cut at once",
                    where="$.candidates",
                    given="candidates: {} with {}".format(self.candidates, name),
                    allowed="heads or ffn, scope: layer, schedule: once",
                    remedy="leave candidates out, or the other",
                )

    def _check_schedule(self) -> None:
        if self.schedule == "once":
            if self.rise:
                raise SpecError(
                    "only a schedule rises",
                    where="$.rise",
                    given=list(self.rise),
                    allowed="rise together with schedule: cubic",
                    remedy="schedule: cubic, or leave rise out",
                )
            return
        if self.cuts == ["layers"]:
            raise SpecError(
                "whole layers go at once, and nothing else is cut here",
                where="$.schedule",
                given=self.schedule,
                allowed="once",
            )
        if self.epochs == 0:
            raise SpecError(
                "a schedule runs while the model trains, and it does not train here",
                where="$.epochs",
                given=0,
                allowed="1 or more",
                remedy="epochs: 3, or schedule: once",
            )
        if self.average:
            raise SpecError(
                "a schedule masks ever more while it trains, and a mean of the weights would lag behind the masks",
                where="$.average",
                given=self.average,
                allowed="average together with schedule: once",
                remedy="leave average out, or schedule: once",
            )
        if self.rise and (len(self.rise) != 2 or not 0 <= self.rise[0] < self.rise[1] <= 1):
            raise SpecError(
                "rise is [begin, end], shares of the training",
                where="$.rise",
                given=list(self.rise),
                allowed="[0.1, 0.7]",
            )
