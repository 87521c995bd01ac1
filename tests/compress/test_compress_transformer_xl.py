"""The steps know no family: a recipe's whole way with Transformer-XL, and what its own weights ask of cuts."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pruning_kit import LENGTHS, logits  # noqa: E402
from torch import nn  # noqa: E402

from edgekit.compress import apply, qat  # noqa: E402
from edgekit.compress.encoded import encode  # noqa: E402
from edgekit.compress.pruning import groups  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint, parts  # noqa: E402
from edgekit.models.relative import Positions  # noqa: E402
from edgekit.spec.distill import Distill, Student  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.qat import Qat  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.shape import Cluster, Factor, Hash, Share  # noqa: E402
from edgekit.spec.steps import Finetune, Vocabulary  # noqa: E402
from edgekit.spec.training import Losses  # noqa: E402

pytestmark = pytest.mark.torch
RATE = {"learning_rate": 2e-3, "batch": 8}
#: Every loss that looks inside.
INSIDE = Losses(logits=1.0, hidden=0.1, attention=0.1, relations=0.1)


@pytest.fixture(scope="module")
def taught(tiny_models_of: dict[str, Path], samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("transformer-xl") / "taught"
    step = Step(finetune=Finetune(epochs=8, patience=8, **RATE))  # type: ignore[arg-type]
    done = apply(step, tiny_models_of["transformer-xl"], None, samples, out, lengths=LENGTHS, seed=7)
    assert done.validation_accuracy > 80
    return out


def random_biases(loaded: checkpoint.Checkpoint) -> None:
    """u and v start at zero, where a cut of the wrong ones would not show."""
    torch.manual_seed(5)
    for name, one in loaded.module.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(one, std=0.5)


def test_a_cut_head_takes_its_distances_along(taught: Path, samples: Samples) -> None:
    """The middle two heads go: the answer is that of the whole model whose output projection does not read them."""
    small, whole = checkpoint.load(taught), checkpoint.load(taught)
    for one in (small, whole):
        random_biases(one)
    for layer in whole.family.layers(whole.module):
        with torch.no_grad():
            whole.family.attention(layer).output.weight[:, 8:24] = 0
    for group in groups.of(small, "heads"):
        groups.cut(small, group, [0, 3])
    torch.testing.assert_close(logits(small, samples), logits(whole, samples), rtol=1e-5, atol=1e-5)
    for part in (one for one in small.module.modules() if isinstance(one, Positions)):
        assert (part.weight.shape, part.bias.shape) == ((16, 32), (16,))


def test_distances_make_a_head_and_do_not_read_the_stream(taught: Path) -> None:
    """So W_R counts in a head's score, and keeps its sinusoids when the stream is cut."""
    loaded = checkpoint.load(taught)
    (group, *_) = groups.of(loaded, "heads")
    assert any(isinstance(one, Positions) for one in group.makers)
    assert groups.of(loaded, "hidden")[0].makers[0] is loaded.family.word_embedding(loaded.module)
    assert not any(isinstance(one, Positions) for one in groups.of(loaded, "hidden")[0].readers)


@pytest.mark.slow
def test_a_whole_recipe_goes_through(taught: Path, samples: Samples, tmp_path: Path) -> None:
    """Distilled by everything inside, cut, factored, its vocabulary trimmed, trained for its grid."""
    steps = [
        Step(distill=Distill(layers=(0, 2), student=Student(ffn=48), epochs=3, losses=INSIDE, **RATE)),  # type: ignore[arg-type]
        Step(prune=Prune(heads=2, ffn=32, hidden=24, epochs=2, samples=32, **RATE)),  # type: ignore[arg-type]
        Step(vocabulary=Vocabulary()),
        Step(factor=Factor(embedding=8, ffn=8, epochs=2, **RATE)),  # type: ignore[arg-type]
        Step(qat=Qat(epochs=1, samples=32, **RATE)),  # type: ignore[arg-type]
    ]
    folder, sizes = taught, [checkpoint.load(taught).parameters]
    for number, step in enumerate(steps):
        done = apply(step, folder, taught, samples, tmp_path / str(number), lengths=LENGTHS, seed=7)
        folder = tmp_path / str(number)
        sizes.append(done.parameters)
    assert sizes == sorted(sizes, reverse=True)
    last = checkpoint.load(folder)
    structure = last.structure
    assert (structure.family, structure.hidden, structure.head_size) == ("transformer-xl", 24, 8)
    assert [(one.heads, one.ffn) for one in structure.layers] == [(2, 32)] * 2
    assert {one.rank for one in structure.factors} == {8}
    assert last.grid is not None
    assert last.grid.products
    assert done.validation_accuracy > 60


@pytest.mark.parametrize(
    "step",
    [Step(share=Share(groups=1, epochs=0)), Step(hash=Hash(buckets=32, epochs=0)), Step(cluster=Cluster(epochs=0))],
    ids=lambda one: one.kind,
)
def test_other_forms_come_back(taught: Path, samples: Samples, tmp_path: Path, step: Step) -> None:
    apply(step, taught, taught, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    after = checkpoint.load(tmp_path / "out")
    described = parts.describe(after.module, after.family)
    if step.share:
        assert described.weights == (None, 0, 0)
        assert len({id(one) for one in after.family.layers(after.module)}) == 1
    assert (described.hashing is not None) == (step.hash is not None)
    assert bool(described.codebooks) == (step.cluster is not None)
    assert logits(after, samples).isfinite().all()


@pytest.mark.parametrize("scheme", ["w8_a8_static", "w8_a32_dynamic"])
def test_training_for_a_grid_bakes_what_it_computed(taught: Path, samples: Samples, scheme: str) -> None:
    loaded = checkpoint.load(taught)
    data = encode(samples.train[:32], loaded, LENGTHS[-1])
    options = Qat(scheme=scheme, clipping="observed", epochs=0, samples=32)  # type: ignore[arg-type]
    plain = logits(loaded, samples)
    qat.prepare(loaded, options, data)
    # products of distances are constants in a file: they stay float
    assert all(type(one.position) is Positions for one in loaded.module.modules() if hasattr(one, "position"))
    fake = logits(loaded, samples)
    assert not torch.equal(fake, plain)
    assert (fake.argmax(-1) == plain.argmax(-1)).float().mean() > 0.9
    qat.bake(loaded, options)
    baked = logits(loaded, samples)
    assert (baked.argmax(-1) == plain.argmax(-1)).float().mean() > 0.9
