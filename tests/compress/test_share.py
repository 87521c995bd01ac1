from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import apply, share  # noqa: E402
from edgekit.compress.encoded import batch, encode  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint, parts  # noqa: E402
from edgekit.models.structure import Layer  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.shape import Share  # noqa: E402
from edgekit.spec.training import Losses  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (16, 24)


@pytest.mark.parametrize(
    ("layers", "groups", "order", "wanted"),
    [
        (6, 2, "sequence", [0, 0, 0, 3, 3, 3]),
        (6, 2, "cycle", [0, 1, 0, 1, 0, 1]),
        (5, 2, "sequence", [0, 0, 0, 3, 3]),
        (6, 1, "sequence", [0] * 6),
        (12, 5, "cycle", [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]),
    ],
)
def test_groups_are_neighbours_or_take_turns(layers: int, groups: int, order: str, wanted: list[int]) -> None:
    assert share.leaders(layers, groups, order) == wanted


@pytest.mark.parametrize("start", ["first", "mean"])
def test_all_layers_of_a_group_compute_with_one_set_of_weights(teacher: Path, samples: Samples, start: str) -> None:
    loaded, kept = checkpoint.load(teacher), checkpoint.load(teacher)
    layers = kept.family.layers(kept.module)
    share.tie(loaded, Share(start=start))
    first, second = loaded.family.layers(loaded.module)
    assert first is second
    for name, weight in first.named_parameters():
        ours = [dict(one.named_parameters())[name] for one in layers]
        torch.testing.assert_close(weight, ours[0] if start == "first" else (ours[0] + ours[1]) / 2)
    assert loaded.parameters == kept.parameters - sum(one.numel() for one in layers[1].parameters())
    # against a model that holds two copies
    wanted = kept.module
    kept.family.set_layers(wanted, [copy.deepcopy(first), copy.deepcopy(first)])
    one = batch(encode(samples.test, kept, 24), list(range(8)))
    with torch.inference_mode():
        assert torch.equal(
            loaded.module(one.input_ids, one.attention_mask).logits, wanted(one.input_ids, one.attention_mask).logits
        )


def test_recovery_keeps_them_shared_and_helps(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    reports = [
        apply(
            Step(share=Share(epochs=epochs, learning_rate=2e-3, batch=8)),
            teacher,
            teacher,
            samples,
            tmp_path / "out",
            lengths=LENGTHS,
            seed=7,
        )
        for epochs in (0, 6)
    ]
    structure = checkpoint.read_structure(tmp_path / "out")
    assert structure.layers == (Layer(4, 64), Layer(4, 64, weights=0))
    assert structure.teacher_layers == (0, 1)
    again = checkpoint.load(tmp_path / "out")
    assert again.parameters == reports[1].parameters == reports[0].parameters
    first, second = again.family.layers(again.module)
    assert first is second
    assert reports[1].losses[-1] < reports[1].losses[0]
    assert reports[1].validation_accuracy > reports[0].validation_accuracy


def test_a_shared_model_recovers_by_hidden_states_too(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    options = Share(epochs=1, losses=Losses(hidden=0.1))
    done = apply(Step(share=options), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    assert done.epochs == 1


def test_as_many_groups_as_layers_are_refused(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="fewer groups") as caught:
        apply(Step(share=Share(groups=2)), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    assert caught.value.allowed == "1 to 1"


def test_layers_that_share_already_are_not_counted_twice(teacher: Path) -> None:
    loaded = checkpoint.load(teacher)
    (first, second), family = loaded.family.layers(loaded.module), loaded.family
    family.set_layers(loaded.module, [first, first, second])
    share.tie(loaded, Share(groups=2, start="first"))
    assert [one is first for one in family.layers(loaded.module)] == [True, True, False]
    family.set_layers(loaded.module, [first, first, first])
    with pytest.raises(BuildError, match="share their weights already") as caught:
        share.tie(loaded, Share(groups=2))
    assert caught.value.allowed == 1


def test_layers_of_other_widths_are_refused(teacher: Path) -> None:
    loaded = checkpoint.load(teacher)
    checkpoint.resize(loaded.family.feed_forward(loaded.family.layers(loaded.module)[1]).up, rows=56)
    with pytest.raises(BuildError, match="other heads, widths or ranks"):
        share.tie(loaded, Share())


def test_the_mean_of_factors_is_refused(teacher: Path) -> None:
    loaded = checkpoint.load(teacher)
    for number in range(2):
        name = f"bert.encoder.layer.{number}.intermediate.dense"
        parts.put(loaded.module, name, parts.factored(parts.part(loaded.module, name), 8))
    with pytest.raises(BuildError, match="mean of factors"):
        share.tie(loaded, Share(start="mean"))
