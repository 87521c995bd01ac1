"""Which step may not come after which: one that would undo what an earlier one did, or make nothing of it."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from edgekit.errors import SpecError
from edgekit.spec.distill import Distill
from edgekit.spec.prune import Prune
from edgekit.spec.qat import Qat
from edgekit.spec.shape import Cluster, Factor, Hash, Share
from edgekit.spec.steps import Finetune, Vocabulary
from edgekit.spec.training import Training

#: What is wrong, and how to mend it.
Fault = Tuple[str, str]


def check_order(steps: Sequence[Tuple[str, object]]) -> None:
    """Raise SpecError at the first step that undoes an earlier one; ``steps`` are their kinds and options, in order."""
    for place, (kind, later) in enumerate(steps):
        earlier = [options for _, options in steps[:place]]
        faults = [_of_zeros(one, later) or _of_clusters(one, later) for one in earlier]
        for fault in (*faults, _of_fresh(earlier, later), _of_reference(earlier, later)):
            if fault is not None:
                raise SpecError(fault[0], where="$.compress[{}].{}".format(place, kind), remedy=fault[1])


def _trains(step: object) -> bool:
    return isinstance(step, Training) and step.epochs > 0


def _remakes(step: object) -> bool:
    """Whether it makes matrices of the layers anew, of all their weights."""
    if isinstance(step, Share):
        return step.start == "mean"
    return isinstance(step, Factor) and (step.attention is not None or step.ffn is not None)


def _of_zeros(earlier: object, later: object) -> Optional[Fault]:
    if not isinstance(earlier, Prune) or earlier.sparsity is None or isinstance(later, Cluster):
        return None
    if isinstance(later, Prune) and later.sparsity is not None and later.sparsity >= earlier.sparsity:
        return None
    if _trains(later) or _remakes(later):
        return (
            "this step changes single weights, and fills the zeros of an earlier step",
            "write the step prune with sparsity after it",
        )
    return None


def _of_clusters(earlier: object, later: object) -> Optional[Fault]:
    if not isinstance(earlier, Cluster):
        return None
    remedy = "write the step cluster last"
    if _trains(later):
        return "this step trains single weights, and undoes the clusters of an earlier step", remedy
    table = earlier.embedding is not None and (
        isinstance(later, Hash) or (isinstance(later, Factor) and later.embedding is not None)
    )
    if table or _remakes(later) or isinstance(later, Qat):
        return "this step makes weights anew, and undoes the clusters of an earlier step", remedy
    return None


def _of_fresh(earlier: Sequence[object], later: object) -> Optional[Fault]:
    if not isinstance(later, Distill) or later.student.start != "fresh":
        return None
    taught = max([one for one in later.teachers if isinstance(one, int)], default=0)
    if any(isinstance(one, (Prune, Share, Factor, Cluster, Hash)) for one in earlier[taught:]):
        return (
            "a fresh student keeps nothing of what an earlier step cut or shared",
            "leave that step out, write it after this one, or have its model teach: distill.teachers",
        )
    return None


def _of_reference(earlier: Sequence[object], later: object) -> Optional[Fault]:
    if not isinstance(later, Finetune):
        return None
    first = next((place for place, one in enumerate(earlier) if isinstance(one, Finetune)), len(earlier))
    if any(not isinstance(one, (Finetune, Vocabulary)) for one in earlier[first:]):
        return (
            "what finetune leaves is the reference of every gate, and this model was compressed since the last one",
            "train on the labels by a step distill with losses {label: 1.0, logits: 0.0}, which leaves the reference",
        )
    return None
