"""A student with layers of its own, and the teacher's embeddings; and what any student may be cut to besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import apply, student  # noqa: E402
from edgekit.compress.encoded import batch, encode  # noqa: E402
from edgekit.compress.training import settled  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError, SpecError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.checkpoint import Checkpoint  # noqa: E402
from edgekit.spec.data import DataSpec  # noqa: E402
from edgekit.spec.distill import Distill, Student  # noqa: E402
from edgekit.spec.recipe import ModelSpec, Recipe, Step  # noqa: E402
from edgekit.spec.training import Losses  # noqa: E402

pytestmark = pytest.mark.torch
TASK: Any = {"lengths": (16, 24), "seed": 7}
TINY = Student(start="fresh", layers=3, hidden=16, heads=2, ffn=24, activation="relu", positions=24, dropout=0.0)


def made(folder: Path, wanted: Student, labels: tuple[str, ...] = (), seed: int = 7) -> Checkpoint:
    loaded = checkpoint.load(folder, labels)
    with settled(seed):
        student.start(loaded, Distill(student=wanted), lambda: pytest.fail("no text is needed"), 24)
    return loaded


def test_it_has_the_sizes_that_are_wanted_and_is_the_same_after_it_was_saved(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    small = made(teacher, TINY)
    checkpoint.save(small, tmp_path / "small")
    again = checkpoint.load(tmp_path / "small")
    found = again.structure
    assert [(one.heads, one.ffn) for one in found.layers] == [(2, 24)] * 3
    assert (found.hidden, found.head_size, found.labels) == (16, 8, samples.labels)
    assert again.family.embeddings(again.module).position.num_embeddings == 24
    assert {one.p for one in again.module.modules() if isinstance(one, torch.nn.Dropout)} == {0.0}
    activation = again.family.feed_forward(again.family.layers(again.module)[0]).activation
    assert activation(torch.tensor([-3.0])).item() == 0.0
    data = encode(samples.test, small, 24)
    one = batch(data, list(range(len(data))))
    with torch.inference_mode():
        before, after = (part.module(one.input_ids, one.attention_mask).logits for part in (small, again))
    assert torch.equal(before, after)


def test_words_are_as_near_to_each_other_as_any_16_directions_allow(teacher: Path) -> None:
    whole, small = checkpoint.load(teacher), made(teacher, TINY)
    words, narrow = (one.family.word_embedding(one.module).weight.detach() for one in (whole, small))
    centred = words - words.mean(0)
    left, singular, right = torch.linalg.svd(centred, full_matrices=False)
    # products of words are those of the best matrix of that rank (Eckart & Young 1936)
    best = (left[:, :16] * singular[:16]) @ right[:16]
    torch.testing.assert_close(narrow @ narrow.T, best @ best.T, rtol=1e-3, atol=1e-3)
    assert (narrow.square().sum() / centred.square().sum()).item() == pytest.approx(
        (singular[:16].square().sum() / singular.square().sum()).item(), rel=1e-4
    )


def test_layers_are_new_seeded_and_as_the_family_draws_its_own(teacher: Path) -> None:
    one, same, other = made(teacher, TINY), made(teacher, TINY), made(teacher, TINY, seed=8)
    first, again, else_ = (
        part.family.attention(part.family.layers(part.module)[0]).query.weight for part in (one, same, other)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, else_)
    # BERT draws from N(0, initializer_range²); tiny_bert says 0.2
    drawn = torch.cat([one.family.feed_forward(layer).up.weight.flatten() for layer in one.family.layers(one.module)])
    assert drawn.std().item() == pytest.approx(0.2, rel=0.1)
    assert torch.equal(
        one.family.head(one.module).classifier.bias,
        (known := checkpoint.load(teacher)).family.head(known.module).classifier.bias,
    )


def test_what_is_left_out_is_as_the_teachers(teacher: Path) -> None:
    whole, small = checkpoint.load(teacher), made(teacher, Student(start="fresh", hidden=16))
    assert len(small.structure.layers) == len(whole.structure.layers)
    assert small.structure.head_size == whole.structure.head_size
    assert small.structure.layers[0].heads == 2
    assert small.structure.layers[0].ffn == whole.structure.layers[0].ffn


def test_at_the_same_width_the_tables_are_the_teachers(teacher: Path) -> None:
    whole, small = checkpoint.load(teacher), made(teacher, Student(start="fresh", layers=1))
    ours, theirs = (one.family.embeddings(one.module) for one in (small, whole))
    assert torch.equal(ours.word.weight, theirs.word.weight)
    assert torch.equal(ours.position.weight, theirs.position.weight)


def test_every_family_has_fresh_students(tiny_family: Path, tmp_path: Path) -> None:
    small = made(tiny_family, Student(start="fresh", layers=1, hidden=16, heads=2, ffn=24, dropout=0.0), ("a", "b"))
    checkpoint.save(small, tmp_path / "small")
    again = checkpoint.load(tmp_path / "small")
    assert again.structure == small.structure
    assert (again.structure.hidden, len(again.structure.layers)) == (16, 1)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        before, after = (one.module(ids, torch.ones_like(ids)).logits for one in (small, again))
    assert torch.equal(before, after)
    assert torch.isfinite(after).all()


def test_it_learns_from_the_teachers_answers_and_its_insides(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    options = Distill(
        student=Student(start="fresh", layers=1, hidden=16, heads=2, dropout=0.0),
        epochs=6,
        patience=6,
        batch=8,
        learning_rate=1e-2,
        losses=Losses(label=0.3, logits=1.0, hidden=0.1),
        augment=1,
        average=0.9,
    )
    done = apply(Step(distill=options), teacher, teacher, samples, tmp_path / "out", **TASK)
    assert done.losses[-1] < 0.5 * done.losses[0]
    assert done.validation_accuracy > 60.0
    # its one layer stands in for both of the teacher's
    assert checkpoint.read_structure(tmp_path / "out").teacher_layers == (0,)


def test_more_layers_than_the_teacher_has_learn_from_answers_only(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    options = Distill(student=Student(start="fresh", layers=3, hidden=16, heads=2), losses=Losses(hidden=1.0))
    with pytest.raises(BuildError, match="more layers than its teacher"):
        apply(Step(distill=options), teacher, teacher, samples, tmp_path / "out", **TASK)


def test_positions_are_cut_without_a_change_to_texts_that_fit(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    whole, cut = checkpoint.load(teacher), checkpoint.load(teacher)
    student.start(cut, Distill(student=Student(positions=24)), lambda: pytest.fail("no text is needed"), 24)
    checkpoint.save(cut, tmp_path / "cut")
    again = checkpoint.load(tmp_path / "cut")
    assert whole.parameters - again.parameters == 8 * 32
    data = encode(samples.test, whole, 24)
    one = batch(data, list(range(len(data))), 24)
    with torch.inference_mode():
        answers = [part.module(one.input_ids, one.attention_mask).logits for part in (whole, again)]
    assert torch.equal(*answers)


@pytest.mark.parametrize("count", [16, 33])
def test_positions_that_do_not_fit_are_refused(teacher: Path, count: int) -> None:
    loaded = checkpoint.load(teacher)
    with pytest.raises(BuildError, match="positions do not fit") as caught:
        student.start(loaded, Distill(student=Student(positions=count)), lambda: pytest.fail("no text"), 24)
    assert caught.value.allowed == "24 (the longest bucket) to 32"


def test_a_dropout_of_its_own_is_in_module_and_file(teacher: Path, tmp_path: Path) -> None:
    loaded = checkpoint.load(teacher)
    student.start(loaded, Distill(student=Student(dropout=0.25)), lambda: pytest.fail("no text"), 24)
    checkpoint.save(loaded, tmp_path / "out")
    for one in (loaded, checkpoint.load(tmp_path / "out")):
        assert {part.p for part in one.module.modules() if isinstance(part, torch.nn.Dropout)} == {0.25}


def test_a_width_that_the_heads_do_not_share_is_refused(teacher: Path) -> None:
    with pytest.raises(BuildError, match="share its hidden width evenly"):
        made(teacher, Student(start="fresh", heads=3))
    with pytest.raises(BuildError, match="more than the model has"):
        made(teacher, Student(start="fresh", hidden=40))


def test_what_the_recipe_alone_shows_is_refused_there() -> None:
    with pytest.raises(SpecError, match="keeps no layer"):
        Distill(layers=(0, 1), student=Student(start="fresh"))
    with pytest.raises(SpecError, match="only a fresh student"):
        Student(layers=2)
    with pytest.raises(SpecError, match="share its hidden width evenly"):
        Student(start="fresh", hidden=64, heads=6)
    with pytest.raises(SpecError, match="more tokens than the student has positions") as caught:
        Recipe(
            "mine",
            ModelSpec(path="x"),
            DataSpec("jsonl", files=("x",), lengths=(16, 64)),
            (Step(distill=Distill(student=Student(positions=32))),),
        )
    assert caught.value.where == "$.compress[0].distill.student.positions"
