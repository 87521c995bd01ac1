"""Steps that would undo an earlier one are refused by the recipe alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.errors import SpecError
from edgekit.spec.distill import Distill, Student
from edgekit.spec.order import check_order
from edgekit.spec.prune import Prune
from edgekit.spec.qat import Qat
from edgekit.spec.shape import Cluster, Factor, Hash, Share
from edgekit.spec.steps import Finetune, Vocabulary

HALF = Prune(sparsity=0.5, criterion="magnitude")
FRESH = Distill(student=Student(start="fresh", layers=2))


def order(*steps: object) -> None:
    check_order([(type(one).__name__.lower(), one) for one in steps])


@pytest.mark.parametrize(
    ("earlier", "later", "match"),
    [
        (HALF, Distill(), "fills the zeros"),
        (HALF, Finetune(), "fills the zeros"),
        (HALF, Prune(heads=2), "fills the zeros"),
        (HALF, replace(HALF, sparsity=0.3), "fills the zeros"),
        (HALF, Hash(), "fills the zeros"),
        (HALF, Qat(), "fills the zeros"),
        (HALF, Share(epochs=0), "fills the zeros"),
        (HALF, Factor(ffn=8, epochs=0), "fills the zeros"),
        (Cluster(), Distill(), "undoes the clusters"),
        (Cluster(), Qat(epochs=0), "undoes the clusters"),
        (Cluster(), Share(epochs=0), "undoes the clusters"),
        (Cluster(), Factor(attention=8, epochs=0), "undoes the clusters"),
        (Cluster(embedding=16), Hash(epochs=0), "undoes the clusters"),
        (Cluster(embedding=16), Factor(embedding=8, epochs=0), "undoes the clusters"),
        (Prune(heads=2), FRESH, "a fresh student keeps nothing"),
        (Share(), FRESH, "a fresh student keeps nothing"),
        (Factor(ffn=8), FRESH, "a fresh student keeps nothing"),
        (Hash(), FRESH, "a fresh student keeps nothing"),
    ],
)
def test_a_step_that_undoes_an_earlier_one_is_refused(earlier: object, later: object, match: str) -> None:
    with pytest.raises(SpecError, match=match) as caught:
        order(Finetune(), earlier, Vocabulary(), later)
    assert caught.value.where == f"$.compress[3].{type(later).__name__.lower()}"
    assert caught.value.remedy


@pytest.mark.parametrize(
    "steps",
    [
        (HALF, Cluster()),
        (HALF, replace(HALF, sparsity=0.7)),
        (HALF, Prune(heads=2, epochs=0)),
        (HALF, Share(start="first", epochs=0)),
        (HALF, Factor(embedding=8, epochs=0)),
        (HALF, Hash(epochs=0)),
        (HALF, Qat(epochs=0)),
        (Cluster(), Hash(epochs=0)),
        (Cluster(), Factor(embedding=8, epochs=0)),
        (Cluster(), Prune(layers=2, epochs=0)),
        (Vocabulary(), FRESH),
        (Distill(), FRESH),
        (FRESH, Share(), Factor(ffn=8), Cluster()),
    ],
)
def test_what_leaves_it_standing_is_not(steps: tuple[object, ...]) -> None:
    order(Finetune(), *steps)


def test_what_was_cut_may_teach_a_fresh_student() -> None:
    order(Finetune(), Prune(heads=2), replace(FRESH, teachers=(2,)))
    with pytest.raises(SpecError, match="a fresh student keeps nothing"):
        order(Finetune(), Prune(heads=2), replace(FRESH, teachers=(1, "folder")))


def test_the_reference_of_the_gates_is_not_compressed_unnoticed() -> None:
    order(Distill(), Finetune(), Vocabulary(), Finetune(), Distill())
    for one in (Prune(heads=2), Distill(layers=(0,)), Share(), Factor(ffn=8), Hash()):
        with pytest.raises(SpecError, match="the reference of every gate") as caught:
            order(Finetune(), one, Finetune())
        assert caught.value.where == "$.compress[2].finetune"
