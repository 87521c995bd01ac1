"""The steps that train and cut are family-blind: each family goes through them."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import apply  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.spec.distill import Distill  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.steps import Finetune  # noqa: E402
from edgekit.spec.training import Losses  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_finetune_distill_and_prune(tiny_family: Path, samples: Samples, tmp_path: Path) -> None:
    losses: list[tuple[float, ...]] = []

    def run(step: Step, source: Path, teacher: Path | None, out: str) -> Path:
        done = apply(step, source, teacher, samples, tmp_path / out, lengths=(16, 32), seed=7)
        losses.append(done.losses)
        return tmp_path / out

    rate = {"learning_rate": 2e-3, "batch": 8}
    teacher = run(Step(finetune=Finetune(epochs=3, **rate)), tiny_family, None, "teacher")  # type: ignore[arg-type]
    student = run(
        Step(distill=Distill(layers=(0, 2), epochs=2, losses=Losses(logits=1.0, hidden=1.0), **rate)),  # type: ignore[arg-type]
        teacher,
        teacher,
        "student",
    )
    pruned = run(Step(prune=Prune(heads=2, ffn=24, epochs=2, samples=32, **rate)), student, teacher, "pruned")  # type: ignore[arg-type]
    assert losses[0][-1] < losses[0][0]
    assert [len(one) for one in losses] == [3, 2, 2]
    structure = checkpoint.read_structure(pruned)
    assert structure.family == tiny_family.name
    assert [(one.heads, one.ffn) for one in structure.layers] == [(2, 24)] * 2
    sizes = [checkpoint.load(one).parameters for one in (teacher, student, pruned)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < sizes[1]
