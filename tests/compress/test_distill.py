from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import apply, distill, evaluate  # noqa: E402
from edgekit.compress.encoded import encode  # noqa: E402
from edgekit.compress.losses import UNLABELED, Group, Lesson, total  # noqa: E402
from edgekit.compress.teacher import groups  # noqa: E402
from edgekit.compress.trace import Trace  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.spec.distill import Distill  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.steps import Finetune, Vocabulary  # noqa: E402
from edgekit.spec.training import Learning, Losses  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (16, 24)
TASK = {"lengths": LENGTHS, "seed": 7}
HARD, SOFT, BOTH = (Learning(losses=Losses(*weights)) for weights in ((0.3, 0.0), (0.0, 1.0), (0.3, 1.0)))


def soft_loss(logits: torch.Tensor, answers: torch.Tensor, labels: torch.Tensor, options: Learning) -> torch.Tensor:
    return total(Lesson(options, labels, torch.ones(len(labels), 1), Trace(logits), answers=answers))


@pytest.mark.parametrize(("label", "logits", "hidden"), [(0.3, 1.0, 0.0), (0.0, 1.0, 0.5), (0.0, 0.0, 1.0)])
def test_the_loss_falls(
    teacher: Path, samples: Samples, tmp_path: Path, label: float, logits: float, hidden: float
) -> None:
    options = Distill(
        layers=(1,), epochs=5, learning_rate=2e-3, batch=8, losses=Losses(label, logits, hidden), patience=5
    )
    done = apply(Step(distill=options), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    assert done.losses[-1] < 0.7 * done.losses[0]
    structure = checkpoint.read_structure(tmp_path / "out")
    assert structure.teacher_layers == (1,)
    assert len(structure.layers) == 1


def test_the_student_starts_as_the_teachers_layers(teacher: Path) -> None:
    student = checkpoint.load(teacher)
    distill.keep_layers(student, (1,))
    ours, theirs = student.module.state_dict(), checkpoint.load(teacher).module.state_dict()
    for name, one in ours.items():
        assert torch.equal(one, theirs[name.replace("layer.0.", "layer.1.")])
    assert len(ours) < len(theirs)
    assert student.module.config.num_hidden_layers == 1


def test_equal_logits_leave_only_the_labels_loss() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    both = soft_loss(logits, logits, labels, BOTH)
    torch.testing.assert_close(both, 0.3 * torch.nn.functional.cross_entropy(logits, labels))


def test_the_logits_gradient_does_not_depend_on_the_temperature_in_size() -> None:
    """Hinton 2015: T² keeps the soft targets' gradients in scale, for logits small against T."""
    answer, labels = torch.tensor([[0.2, -0.1, 0.0]]), torch.tensor([0])
    sizes = []
    for heat in (4.0, 40.0):
        logits = torch.zeros(1, 3, requires_grad=True)
        soft_loss(logits, answer, labels, Learning(losses=Losses(label=0.0, logits=1.0), temperature=heat)).backward()
        assert logits.grad is not None
        sizes.append(logits.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_each_layer_stands_in_for_those_up_to_the_next(teacher: Path) -> None:
    whole, student = checkpoint.load(teacher), checkpoint.load(teacher)
    whole.teacher_layers, student.teacher_layers = tuple(range(6)), (0, 3, 5)
    # what layer 3 was given is what layer 2 gave; the last learns the last
    assert groups(student, whole) == [Group(0, 2), Group(3, 4), Group(5, 5)]
    student.teacher_layers = (1, 4, 5)
    # and the first is given what the teacher's first was
    assert groups(student, whole) == [Group(0, 3), Group(4, 4), Group(5, 5)]
    whole.teacher_layers = (0, 3)
    with pytest.raises(BuildError, match="layers that its teacher lacks"):
        groups(student, whole)


def test_insides_are_compared_on_texts_split_alike_and_refused_where_there_are_none(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    trimmed = tmp_path / "trimmed"
    apply(Step(vocabulary=Vocabulary(min_count=20)), teacher, teacher, samples, trimmed, **TASK)
    step = Step(distill=Distill(layers=(0,), losses=Losses(hidden=0.1), epochs=1))
    apply(step, trimmed, teacher, samples, tmp_path / "out", **TASK)
    spelled = replace(samples, train=[replace(one, text="never used") for one in samples.train])
    with pytest.raises(BuildError, match="min_count"):
        apply(step, trimmed, teacher, spelled, tmp_path / "out", **TASK)


def test_a_trimmed_student_learns_hidden_states(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    trimmed = tmp_path / "trimmed"
    apply(Step(vocabulary=Vocabulary()), teacher, teacher, samples, trimmed, lengths=LENGTHS, seed=7)
    step = Step(distill=Distill(layers=(0, 1), losses=Losses(hidden=1.0, label=0.0), learning_rate=1e-8, epochs=1))
    done = apply(step, trimmed, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    # all layers, same weights: only dropout is between student and teacher, so the tokens must be matched
    shuffled = checkpoint.load(trimmed)
    table = shuffled.family.word_embedding(shuffled.module)
    table.weight.data = table.weight.data.flip(0)
    checkpoint.save(shuffled, trimmed)
    wrong = apply(step, trimmed, teacher, samples, tmp_path / "wrong", lengths=LENGTHS, seed=7)
    assert done.losses[0] < 0.5 * wrong.losses[0]


def test_a_teacher_of_other_labels_is_refused(teacher: Path, tiny_bert: Path, samples: Samples, tmp_path: Path) -> None:
    other = checkpoint.load(tiny_bert, ["a", "b", "c"])
    checkpoint.save(other, tmp_path / "other")
    step = Step(distill=Distill(layers=(0,)))
    with pytest.raises(BuildError, match="different labels"):
        apply(step, teacher, tmp_path / "other", samples, tmp_path / "out", lengths=LENGTHS, seed=7)


def test_a_checkpoint_of_other_labels_is_not_finetuned(tiny_bert: Path, samples: Samples, tmp_path: Path) -> None:
    checkpoint.save(checkpoint.load(tiny_bert, ["a", "b"]), tmp_path / "other")
    with pytest.raises(BuildError, match="other labels"):
        apply(Step(finetune=Finetune()), tmp_path / "other", None, samples, tmp_path / "out", lengths=LENGTHS, seed=7)


def test_a_resumed_step_does_not_ask_the_teacher_again(
    teacher: Path, samples: Samples, tmp_path: Path, stop_at: Callable[[int], Any]
) -> None:
    step = Step(distill=Distill(layers=(0,), epochs=2, batch=8))
    heard: list[str] = []

    def run(report: Any) -> None:
        apply(step, teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7, report=report)

    with pytest.raises(KeyboardInterrupt):
        run(stop_at(6))
    run(lambda message, _: heard.append(message))
    assert not [one for one in heard if one.startswith("teacher")]
    # another teacher's answers are not taken for this one's
    other = checkpoint.load(teacher)
    other.family.word_embedding(other.module).weight.data += 0.1
    checkpoint.save(other, tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        run(stop_at(6))
    apply(
        step,
        teacher,
        tmp_path / "other",
        samples,
        tmp_path / "out",
        lengths=LENGTHS,
        seed=7,
        report=lambda message, _: heard.append(message),
    )
    assert [one for one in heard if one.startswith("teacher")]


def test_texts_without_labels_have_no_label_loss() -> None:
    logits, answer = torch.randn(4, 3), torch.randn(4, 3)
    labels = torch.tensor([0, UNLABELED, 2, UNLABELED])
    mixed = soft_loss(logits, answer, labels, HARD)
    alone = soft_loss(logits[::2], answer[::2], labels[::2], HARD)
    torch.testing.assert_close(mixed, alone / 2)
    none = soft_loss(
        logits,
        answer,
        torch.full((4,), UNLABELED),
        BOTH,
    )
    torch.testing.assert_close(none, soft_loss(logits, answer, labels, SOFT))


def test_a_student_learns_the_teachers_answers_on_texts_without_labels(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    """With hardly a labelled text, those without labels must be what brings student and teacher together."""
    step = Step(distill=Distill(layers=(1,), epochs=6, learning_rate=2e-3, batch=8, patience=6))
    few = replace(samples, train=samples.train[:3])
    more = replace(few, unlabeled=[one.text for one in samples.train[3:]])
    agreement = {}
    for name, given in (("few", few), ("more", more)):
        apply(step, teacher, teacher, given, tmp_path / name, lengths=LENGTHS, seed=7)
        answers = []
        for folder in (teacher, tmp_path / name):
            loaded = checkpoint.load(folder)
            answers.append(evaluate.logits(loaded.module, encode(samples.test, loaded, 24)).argmax(-1))
        agreement[name] = int((answers[0] == answers[1]).sum())
    assert agreement["more"] > agreement["few"]
