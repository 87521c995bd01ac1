"""What a student starts as: merged layers, narrower matrices, a smaller stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import apply, student  # noqa: E402
from edgekit.compress.encoded import Batch, batch, encode  # noqa: E402
from edgekit.compress.pruning import groups  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError, SpecError  # noqa: E402
from edgekit.models import checkpoint, parts  # noqa: E402
from edgekit.models.checkpoint import Checkpoint  # noqa: E402
from edgekit.spec.distill import Distill, Student  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.training import Losses  # noqa: E402

pytestmark = pytest.mark.torch
TASK: Any = {"lengths": (16, 24), "seed": 7}


def some(loaded: Checkpoint, samples: Samples, count: int = 96) -> Batch:
    data = encode(samples.train[:count], loaded, 24)
    return batch(data, list(range(len(data))))


def logits(loaded: Checkpoint, samples: Samples) -> torch.Tensor:
    data = encode(samples.test, loaded, 24)
    one = batch(data, list(range(len(data))))
    with torch.inference_mode():
        return loaded.module(one.input_ids, one.attention_mask).logits


def start(teacher: Path, samples: Samples, layers: tuple[int, ...] = (), **wanted: Any) -> Checkpoint:
    loaded = checkpoint.load(teacher)
    student.start(loaded, Distill(layers=layers, student=Student(**wanted)), lambda: some(loaded, samples), 24)
    return loaded


@pytest.mark.parametrize(
    ("how", "merged"), [("averaged", lambda a, b: (a + b) / 2), ("folded", lambda a, b: a + (b - a))]
)
def test_a_layer_starts_as_its_whole_group(
    teacher: Path, samples: Samples, how: str, merged: Callable[..., Any]
) -> None:
    whole, small = checkpoint.load(teacher), start(teacher, samples, (0,), start=how)
    first, second = (one.state_dict() for one in whole.family.layers(whole.module))
    (only,) = (one.state_dict() for one in small.family.layers(small.module))
    for name, one in only.items():
        torch.testing.assert_close(one, merged(first[name], second[name]))
    assert small.teacher_layers == (0,)


def test_folding_adds_every_layers_difference_from_the_first() -> None:
    """LaCo: θ = θ₀ + Σ (θₖ - θ₀)."""
    one, two, three = ({"w": torch.tensor([float(value)])} for value in (1, 3, 10))
    assert student.folded([one, two, three])["w"].item() == 1 + 2 + 9
    assert student.averaged([one, two, three])["w"].item() == pytest.approx(14 / 3)


def test_the_basis_is_orthonormal_and_keeps_what_there_is() -> None:
    torch.manual_seed(1)
    states = torch.randn(200, 5) @ torch.randn(5, 16)
    turn = student.basis([states, 3 * states[:50]], 5)
    torch.testing.assert_close(turn.T @ turn, torch.eye(5), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(states @ turn @ turn.T, states, rtol=1e-3, atol=1e-3)
    weaker = student.basis([states], 3)
    dropped = (states - states @ weaker @ weaker.T).square().sum()
    singular = torch.linalg.svdvals(states)
    assert dropped.item() == pytest.approx(singular[3:5].square().sum().item(), rel=1e-3)


def test_a_narrowed_stream_is_nearer_to_the_teacher_than_a_cut_one(teacher: Path, samples: Samples) -> None:
    whole, turned, cut = checkpoint.load(teacher), start(teacher, samples, hidden=24), checkpoint.load(teacher)
    groups.cut(cut, groups.of(cut, "hidden")[0], list(range(24)))
    answers = logits(whole, samples)
    distances = [(logits(one, samples) - answers).square().mean().item() for one in (turned, cut)]
    assert distances[0] < 0.5 * distances[1]
    assert turned.structure.hidden == 24
    assert turned.structure.head_size == whole.structure.head_size
    assert turned.parameters < whole.parameters


def test_each_norm_of_a_narrowed_stream_is_fitted_to_the_teachers_by_least_squares(
    teacher: Path, samples: Samples
) -> None:
    whole, small = checkpoint.load(teacher), checkpoint.load(teacher)
    few = some(small, samples)
    before = student._norms_give(whole, groups.of(whole, "hidden")[0].norms, few)
    turn = student.basis(list(before.values()), 24)
    student.narrow(small, 24, few)
    after = student._norms_give(small, groups.of(small, "hidden")[0].norms, few)
    for given, made in zip(before.values(), after.values(), strict=True):
        rest = given @ turn - made
        torch.testing.assert_close(rest.mean(0), torch.zeros(24), rtol=0, atol=1e-4)
        # nothing of what is left follows from what the norm gives
        torch.testing.assert_close((rest * (made - made.mean(0))).mean(0), torch.zeros(24), rtol=0, atol=1e-4)


def test_a_narrowed_student_is_the_same_after_it_was_saved(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    small = start(teacher, samples, (1,), hidden=16, heads=2, ffn=24, activation="relu")
    checkpoint.save(small, tmp_path / "small")
    again = checkpoint.load(tmp_path / "small")
    assert torch.equal(logits(small, samples), logits(again, samples))
    assert again.structure == small.structure
    (layer,) = again.structure.layers
    assert (layer.heads, layer.ffn, again.structure.hidden) == (2, 24, 16)
    activation = again.family.feed_forward(next(iter(again.family.layers(again.module)))).activation
    assert activation(torch.tensor([-3.0])).item() == 0.0


def test_the_units_of_the_least_weights_go_first(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    for layer in loaded.family.layers(loaded.module):
        loaded.family.feed_forward(layer).down.weight.data[:, 40:] = 0
        loaded.family.attention(layer).output.weight.data[:, 8:24] = 0
    answers = logits(loaded, samples)
    student.start(loaded, Distill(student=Student(heads=2, ffn=40)), lambda: some(loaded, samples), 24)
    torch.testing.assert_close(logits(loaded, samples), answers, rtol=1e-4, atol=1e-5)


def test_projections_are_learned_and_dropped(
    teacher: Path, samples: Samples, tmp_path: Path, stop_at: Callable[[int], Any]
) -> None:
    """A narrow student learns wide hidden states: what stands between is in the state, not in the result."""
    losses = Losses(label=0.0, logits=0.0, hidden=1.0, embedding=1.0, fold=1.0)
    options = Distill(
        layers=(1,), student=Student(hidden=16), losses=losses, epochs=2, batch=16, learning_rate=3e-3, patience=2
    )
    few = replace(samples, train=samples.train[:64])
    states = []
    # the teacher answers in one report; the first step is the second, and the second epoch's begin at the sixth
    for stop in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            apply(Step(distill=options), teacher, teacher, few, tmp_path / "out", report=stop_at(stop), **TASK)
        states.append(torch.load(tmp_path / "out.work/state.pt", weights_only=True))
    fresh, learned = (one["helpers"] for one in states)
    assert [one["progress"]["epoch"] for one in states] == [0, 1]
    assert {name.split(".")[0] for name in fresh} == {"hidden", "embedding", "fold", "enter"}
    assert fresh["hidden.0.weight"].shape == (32, 16)
    assert not any(torch.equal(fresh[name], learned[name]) for name in fresh)
    done = apply(Step(distill=options), teacher, teacher, few, tmp_path / "out", **TASK)
    assert done.losses[1] < done.losses[0]
    saved = checkpoint.load(tmp_path / "out")
    assert saved.structure.hidden == 16
    assert not any(name.startswith(("hidden.", "embedding.", "enter.")) for name in saved.module.state_dict())


@pytest.mark.parametrize(
    ("wanted", "allowed"), [({"heads": 5}, "up to 4"), ({"ffn": 72}, "up to 64"), ({"hidden": 40}, "up to 32")]
)
def test_more_than_the_model_has_is_refused(
    teacher: Path, samples: Samples, wanted: dict[str, int], allowed: str
) -> None:
    with pytest.raises(BuildError, match="more than the model has") as caught:
        start(teacher, samples, **wanted)
    assert caught.value.allowed == allowed


def test_layers_of_different_widths_are_not_merged(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    groups.cut(loaded, groups.of(loaded, "ffn")[1], range(32))
    options = Distill(layers=(0,), student=Student(start="averaged"))
    with pytest.raises(BuildError, match="different widths"):
        student.start(loaded, options, lambda: some(loaded, samples), 24)


def test_what_is_factored_is_neither_merged_nor_cut(teacher: Path, samples: Samples) -> None:
    for wanted, match in (
        (Distill(layers=(0,), student=Student(start="folded")), "mean of factors"),
        (Distill(student=Student(hidden=16)), "factored or hashed"),
        (Distill(student=Student(ffn=16)), "factored or hashed"),
    ):
        loaded = checkpoint.load(teacher)
        name = "bert.encoder.layer.1.intermediate.dense"
        parts.put(loaded.module, name, parts.factored(parts.part(loaded.module, name), 8))
        with pytest.raises(BuildError, match=match):
            student.start(loaded, wanted, lambda one=loaded: some(one, samples), 24)


def test_what_the_recipe_alone_shows_is_refused_there() -> None:
    for wanted in ({"hidden": 100}, {"ffn": 12}, {"hidden": 0}):
        with pytest.raises(SpecError, match="multiples of 8"):
            Student(**wanted)
    with pytest.raises(SpecError, match="too small"):
        Student(heads=0)
    with pytest.raises(SpecError, match="no groups"):
        Distill(student=Student(start="folded"))
