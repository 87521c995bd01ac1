"""Every step after every other: it works and leaves standing what the first one did, or is refused in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import apply  # noqa: E402
from edgekit.compress.pruning import groups  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError, SpecError  # noqa: E402
from edgekit.models import checkpoint, grid  # noqa: E402
from edgekit.spec.data import DataSpec  # noqa: E402
from edgekit.spec.distill import Distill, Student  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.qat import Qat  # noqa: E402
from edgekit.spec.quantize import Convert  # noqa: E402
from edgekit.spec.recipe import ModelSpec, Recipe, Step  # noqa: E402
from edgekit.spec.shape import Cluster, Factor, Hash, Share  # noqa: E402
from edgekit.spec.steps import Finetune, Vocabulary  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]
ONE, NONE = {"epochs": 1, "batch": 8}, {"epochs": 0, "samples": 8}
STEPS = {
    "finetune": Step(finetune=Finetune(**ONE)),  # type: ignore[arg-type]
    "vocabulary": Step(vocabulary=Vocabulary(min_count=2)),
    "layers": Step(distill=Distill(layers=(0,), **ONE)),  # type: ignore[arg-type]
    "averaged": Step(distill=Distill(layers=(0,), student=Student(start="averaged"), **ONE)),  # type: ignore[arg-type]
    "narrow": Step(distill=Distill(student=Student(hidden=24), **ONE)),  # type: ignore[arg-type]
    "thin": Step(distill=Distill(student=Student(heads=2, ffn=24), **ONE)),  # type: ignore[arg-type]
    "fresh": Step(distill=Distill(student=Student(start="fresh", layers=1, hidden=16, heads=2, ffn=24), **ONE)),  # type: ignore[arg-type]
    "heads": Step(prune=Prune(heads=2, ffn=24, **NONE)),  # type: ignore[arg-type]
    "stream": Step(prune=Prune(hidden=24, **NONE)),  # type: ignore[arg-type]
    "depth": Step(prune=Prune(layers=1, **NONE)),  # type: ignore[arg-type]
    "cubic": Step(prune=Prune(ffn=24, schedule="cubic", samples=8, **ONE)),  # type: ignore[arg-type]
    "zeros": Step(prune=Prune(sparsity=0.5, criterion="magnitude", **NONE)),  # type: ignore[arg-type]
    "share": Step(share=Share(epochs=0)),
    "first": Step(share=Share(start="first", epochs=0)),
    "table": Step(factor=Factor(embedding=8, **NONE)),  # type: ignore[arg-type]
    "factor": Step(factor=Factor(attention=8, ffn=8, **NONE)),  # type: ignore[arg-type]
    "cluster": Step(cluster=Cluster(values=8, embedding=8, epochs=0)),
    "hash": Step(hash=Hash(buckets=24, epochs=0)),
    "qat": Step(qat=Qat(epochs=0)),
}
ALL = set(STEPS)
TRAIN = {"finetune", "layers", "averaged", "narrow", "thin", "fresh", "cubic"}
CUT = {"narrow", "thin", "heads", "stream", "cubic"}
#: What they leave is like what others leave.
ALIKE = {"averaged", "narrow", "thin", "cubic"}
#: By the first step, those that the recipe alone refuses after it.
BY_RECIPE: dict[str, set[str]] = {
    "heads": {"fresh"},
    "stream": {"fresh"},
    "depth": {"fresh"},
    "share": {"fresh"},
    "first": {"fresh"},
    "table": {"fresh"},
    "factor": {"fresh"},
    "hash": {"fresh"},
    "zeros": TRAIN | {"share", "factor"},
    "cluster": TRAIN | {"share", "factor", "table", "hash", "qat"},
    "qat": ALL - {"vocabulary"},
}
#: Those that are refused when the model is there: more is to be kept than it has, or what is factored is to be cut.
BY_MODEL: dict[str, set[str]] = {
    "layers": {"share", "first"},
    "depth": {"share", "first"},
    "fresh": {"share", "first", "stream", "narrow", "factor"},
    "table": {"narrow", "stream", "table", "hash"},
    "hash": {"narrow", "stream", "table", "hash"},
    "factor": CUT | {"zeros", "share", "averaged", "factor"},
}


@pytest.fixture(scope="module")
def few(samples: Samples) -> Samples:
    return replace(samples, train=samples.train[:9], validation=samples.validation[:3])


@pytest.mark.parametrize("first", [one for one in STEPS if one not in ALIKE])
def test_a_step_after_it(first: str, teacher: Path, few: Samples, tmp_path: Path) -> None:
    def run(name: str, source: Path, out: Path) -> None:
        reference = tmp_path / "1" if first == "finetune" and source != teacher else teacher
        apply(STEPS[name], source, reference, few, out, lengths=(16, 24), seed=7)

    run(first, teacher, tmp_path / "1")
    before, refused, sentences = tmp_path / "1", {"recipe": set[str](), "model": set[str]()}, list[object]()
    for second in STEPS:
        try:
            _recipe(first, second)
            run(second, before, tmp_path / "2")
        except (SpecError, BuildError) as error:
            refused["model" if isinstance(error, BuildError) else "recipe"].add(second)
            sentences.append(error.remedy or error.allowed)
            continue
        if second != "fresh":
            assert not _lost(first, before, tmp_path / "2"), second
    assert refused["recipe"] == BY_RECIPE.get(first, set())
    assert refused["model"] == BY_MODEL.get(first, set())
    assert all(sentences)


def _recipe(*names: str) -> Recipe:
    schemes = Convert(schemes=("w32_a32_float", "w8_a8_static"))
    data = DataSpec("jsonl", files=("x",), lengths=(16, 24))
    return Recipe("mine", ModelSpec(path="x"), data, tuple(STEPS[one] for one in names), schemes)


def _lost(first: str, before: Path, after: Path) -> bool:
    """Whether what the first step did is gone."""
    old, new = checkpoint.load(before), checkpoint.load(after)
    was, now = old.structure, new.structure
    stands = {
        "vocabulary": now.vocabulary <= was.vocabulary,
        "layers": len(now.layers) == 1,
        "depth": len(now.layers) == 1,
        "stream": now.hidden <= 24,
        "heads": all((one.heads, one.ffn) == (2, 24) for one in now.layers),
        # of weights; whole units that go later are rich in zeros
        "zeros": _zeros(new) > 0.3,
        "share": len({id(one) for one in new.family.layers(new.module)}) == 1,
        "first": len({id(one) for one in new.family.layers(new.module)}) == 1,
        "table": set(was.factors) <= set(now.factors),
        "factor": len(now.factors) >= 6 * sum(one.weights is None for one in now.layers),
        "cluster": all(one.weight.unique().numel() <= 8 for layer in groups.projections(new) for one in layer),
        "hash": now.hashing is not None,
        "qat": (after / grid.FILE).is_file(),
    }
    return not stands.get(first, True)


def _zeros(loaded: checkpoint.Checkpoint) -> float:
    weights = [one.weight for layer in groups.projections(loaded) for one in layer]
    return sum(int((one == 0).sum()) for one in weights) / sum(one.numel() for one in weights)
