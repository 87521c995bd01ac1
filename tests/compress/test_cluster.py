from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402

from edgekit.compress import apply, cluster  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import SpecError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.spec.data import DataSpec  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.recipe import ModelSpec, Recipe, Step  # noqa: E402
from edgekit.spec.shape import Cluster  # noqa: E402
from edgekit.spec.steps import Finetune, Vocabulary  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (16, 24)
OPTIONS = Cluster(values=4, embedding=16, epochs=2, learning_rate=2e-3, batch=8)


def applied(options: Cluster, teacher: Path, samples: Samples, out: Path, **more: object) -> object:
    return apply(Step(cluster=options), teacher, teacher, samples, out, lengths=LENGTHS, seed=7, **more)  # type: ignore[arg-type]


def test_a_codebook_has_its_values_in_each_matrix_also_after_training(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    applied(OPTIONS, teacher, samples, tmp_path / "out")
    weights = load_file(tmp_path / "out" / "model.safetensors")
    books = {one.name: one.values for one in checkpoint.load(tmp_path / "out").structure.codebooks}
    assert len(books) == 1 + 2 * 6
    for name, values in books.items():
        assert len(weights[name].unique()) == values
    assert books["bert.embeddings.word_embeddings.weight"] == 16
    assert books["bert.encoder.layer.1.output.dense.weight"] == 4
    assert len(weights["classifier.weight"].unique()) > 16, "the classifier is no part of the layers"


def test_clusters_train_and_their_members_stay_together(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    for name, epochs in (("raw", 0), ("trained", 4)):
        applied(
            Cluster(values=3, embedding=4, epochs=epochs, learning_rate=2e-3, batch=8),
            teacher,
            samples,
            tmp_path / name,
        )
    raw, trained = (load_file(tmp_path / name / "model.safetensors") for name in ("raw", "trained"))
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    pairs = set(zip(raw[name].flatten().tolist(), trained[name].flatten().tolist(), strict=True))
    assert len(pairs) == 3, "each old value became one new value"
    assert any(before != after for before, after in pairs)


def test_zeros_of_an_earlier_step_stay_also_while_clusters_train(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    """Deep compression: prune, then give what is left its codebook."""
    # by random scores, so that small weights stand beside the zeros
    half = Prune(sparsity=0.5, criterion="random", epochs=0)
    apply(Step(prune=half), teacher, teacher, samples, tmp_path / "half", lengths=LENGTHS, seed=7)
    done = Step(cluster=Cluster(values=4, epochs=2, learning_rate=2e-3, batch=8))
    apply(done, tmp_path / "half", teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    before, after = (load_file(tmp_path / one / "model.safetensors") for one in ("half", "out"))
    books = checkpoint.read_structure(tmp_path / "out").codebooks
    assert len(books) == 2 * 6
    for one in books:
        assert torch.equal(before[one.name] == 0, after[one.name] == 0)
        assert len(after[one.name].unique()) == 4


def test_recovery_helps(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    before, after = (
        applied(
            Cluster(values=2, embedding=2, epochs=epochs, learning_rate=2e-3, batch=8), teacher, samples, tmp_path / "x"
        )
        for epochs in (0, 6)
    )
    assert after.validation_accuracy > before.validation_accuracy


def test_the_gradient_of_a_cluster_is_the_mean_of_its_members() -> None:
    weight = torch.nn.Parameter(torch.zeros(2, 3))
    places = torch.tensor([[0, 1, 0], [1, 1, 0]])
    one = cluster.Clustered(weight, places, torch.bincount(places.flatten()))
    found = one.mean(torch.tensor([[1.0, 2.0, 3.0], [4.0, 9.0, 8.0]]))
    assert torch.equal(found, torch.tensor([[4.0, 5.0, 4.0], [5.0, 5.0, 4.0]]))


def test_an_interrupted_step_goes_on_to_the_same_weights(
    teacher: Path, samples: Samples, tmp_path: Path, stop_at: Callable[[int], Callable[[str, float | None], None]]
) -> None:
    applied(OPTIONS, teacher, samples, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        applied(OPTIONS, teacher, samples, tmp_path / "part", report=stop_at(22))
    applied(OPTIONS, teacher, samples, tmp_path / "part")
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (
        tmp_path / "part" / "model.safetensors"
    ).read_bytes()


def test_k_means_finds_planted_clusters_and_beats_even_steps() -> None:
    draw = torch.Generator().manual_seed(3)
    centres = torch.tensor([-2.0, -0.3, 0.0, 0.1, 1.5])
    weight = centres[torch.randint(5, (64, 32), generator=draw)] + 0.005 * torch.randn(64, 32, generator=draw)
    codebook, places = cluster.kmeans(weight, 5, seed=7)
    torch.testing.assert_close(codebook, centres, rtol=0, atol=2e-3)
    assert places.shape == weight.shape
    normal = torch.randn(64, 64, generator=draw)
    codebook, places = cluster.kmeans(normal, 16, seed=7)
    steps = torch.linspace(float(normal.min()), float(normal.max()), 16)
    even = steps[(normal.unsqueeze(-1) - steps).abs().argmin(-1)]
    assert (codebook[places] - normal).square().mean() < (even - normal).square().mean() / 2


def test_k_means_ends_where_each_value_is_the_mean_of_what_is_nearest_to_it() -> None:
    weight = torch.randn(40, 50, generator=torch.Generator().manual_seed(4))
    codebook, places = cluster.kmeans(weight, 8, seed=1)
    nearest = (weight.unsqueeze(-1) - codebook).abs().argmin(-1)
    assert torch.equal(nearest, places)
    means = torch.stack([weight[places == one].mean() for one in range(8)])
    torch.testing.assert_close(means, codebook)
    again = cluster.kmeans(weight, 8, seed=1)
    assert torch.equal(again[0], codebook)


def test_a_matrix_of_few_values_keeps_them() -> None:
    weight = torch.tensor([[0.5, -1.0], [0.5, 0.25]])
    codebook, places = cluster.kmeans(weight, 8, seed=1)
    assert torch.equal(codebook[places], weight)
    assert len(codebook) == 3


def test_what_it_gains_is_said_and_measured(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    done = applied(Cluster(values=4, embedding=4, epochs=0), teacher, samples, tmp_path / "out")
    sizes = [len(zlib.compress((one / "model.safetensors").read_bytes(), 6)) for one in (teacher, tmp_path / "out")]
    assert sizes[1] < sizes[0] / 3
    assert f"{sizes[1] / 1e6:.2f} MB, before {sizes[0] / 1e6:.2f}" in done.remarks[0]
    assert "no runtime here computes faster" in done.remarks[0]


@pytest.mark.parametrize("options", [{"values": 1}, {"values": 257}, {"embedding": 0}])
def test_bad_options(options: dict[str, int]) -> None:
    with pytest.raises(SpecError, match="2 to 256"):
        Cluster(**options)


def test_a_step_that_would_undo_it_is_refused() -> None:
    def recipe(*steps: Step) -> Recipe:
        return Recipe("mine", ModelSpec(path="x"), DataSpec("jsonl", files=("x",)), steps)

    recipe(Step(finetune=Finetune()), Step(cluster=Cluster()), Step(vocabulary=Vocabulary()))
    with pytest.raises(SpecError, match="undoes the clusters") as caught:
        recipe(Step(cluster=Cluster()), Step(vocabulary=Vocabulary()), Step(finetune=Finetune()))
    assert caught.value.where == "$.compress[2].finetune"


def test_k_means_plus_plus_needs_no_luck() -> None:
    """Far apart lumps of very different sizes: a plain random start would miss the small ones."""
    draw = random.Random(1)
    lumps = torch.tensor([draw.gauss(0, 1e-3) for _ in range(5000)] + [5.0] * 3 + [-9.0] * 2).reshape(-1, 5)
    codebook, _ = cluster.kmeans(lumps, 3, seed=2)
    torch.testing.assert_close(codebook, torch.tensor([-9.0, 0.0, 5.0]), rtol=0, atol=1e-3)
