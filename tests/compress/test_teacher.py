"""Who teaches: one, several, or one that knows other labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import apply, evaluate, losses  # noqa: E402
from edgekit.compress import teacher as teachers  # noqa: E402
from edgekit.compress.encoded import batch, encode  # noqa: E402
from edgekit.compress.trace import STATES, trace  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.spec.distill import Distill  # noqa: E402
from edgekit.spec.progress import quiet  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.steps import Finetune, Vocabulary  # noqa: E402
from edgekit.spec.training import Losses  # noqa: E402

pytestmark = pytest.mark.torch
TASK: Any = {"lengths": (16, 24), "seed": 7}
AGNOSTIC = Losses(label=0.0, logits=0.0, embedding=1.0)


@pytest.fixture
def other(teacher: Path, samples: Samples, tmp_path: Path) -> Path:
    """A teacher of another mind, with a vocabulary of its own."""
    apply(Step(vocabulary=Vocabulary()), teacher, None, samples, tmp_path / "trimmed", **TASK)
    changed = checkpoint.load(tmp_path / "trimmed")
    changed.module.classifier.weight.data = changed.module.classifier.weight.data.flip(0)
    checkpoint.save(changed, tmp_path / "other")
    return tmp_path / "other"


def test_several_teachers_answer_with_the_weighted_mean_of_their_logits(
    teacher: Path, other: Path, samples: Samples, tmp_path: Path
) -> None:
    asked = [teachers.load(one, samples.labels) for one in (teacher, other)]
    mean = teachers.mean_logits(asked, [1.0, 3.0], samples.train, 24, tmp_path / "work", quiet)
    one, two = (evaluate.logits(each.module, encode(samples.train, each, 24)) for each in asked)
    torch.testing.assert_close(mean, 0.25 * one + 0.75 * two, rtol=1e-4, atol=1e-5)
    # asked once: what was kept is the same again
    kept = sorted((tmp_path / "work").iterdir())
    assert len(kept) == 2
    assert torch.equal(teachers.mean_logits(asked, [1.0, 3.0], samples.train, 24, tmp_path / "work", quiet), mean)
    assert sorted((tmp_path / "work").iterdir()) == kept


def test_a_teacher_of_weight_0_teaches_nothing(teacher: Path, other: Path, samples: Samples, tmp_path: Path) -> None:
    options = Distill(layers=(1,), epochs=1, batch=16, losses=Losses(label=0.0, logits=1.0))
    both = replace(options, teachers=("other",), teacher_weights=(0.0, 1.0))
    apply(Step(distill=options), teacher, other, samples, tmp_path / "alone", **TASK)
    apply(Step(distill=both), teacher, teacher, samples, tmp_path / "both", teachers=[other], **TASK)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("alone", "both"))
    assert first == second


def test_every_teacher_knows_the_same_labels(teacher: Path, tiny_bert: Path, samples: Samples, tmp_path: Path) -> None:
    checkpoint.save(checkpoint.load(tiny_bert, ["a", "b"]), tmp_path / "stranger")
    step = Step(distill=Distill(layers=(0,), teachers=("stranger",)))
    with pytest.raises(BuildError, match="different labels") as caught:
        apply(step, teacher, teacher, samples, tmp_path / "out", teachers=[tmp_path / "stranger"], **TASK)
    assert caught.value.where == str(tmp_path / "stranger")


def test_an_embedding_is_learned_without_labels_and_without_a_classifier(
    tiny_bert: Path, samples: Samples, tmp_path: Path
) -> None:
    """Task-agnostic: from a plain model, on texts without labels, and the task is learned afterwards."""
    bare = replace(samples, train=samples.train[:8], unlabeled=[one.text for one in samples.train[8:]])
    options = Distill(layers=(0,), epochs=4, batch=8, learning_rate=2e-3, losses=AGNOSTIC, patience=4)
    done = apply(Step(distill=options), tiny_bert, None, bare, tmp_path / "out", **TASK)
    before, after = (_likeness(tiny_bert, one, samples) for one in (None, tmp_path / "out"))
    assert 1 - after < 0.5 * (1 - before)
    # 100·e^-(1 - cosine), on validation texts
    assert list(done.accuracies) == sorted(done.accuracies)
    assert 80.0 < done.validation_accuracy <= 100.0
    tuned = Finetune(epochs=1, batch=8)
    apply(Step(finetune=tuned), tmp_path / "out", None, samples, tmp_path / "tuned", **TASK)
    assert checkpoint.load(tmp_path / "tuned").labels == samples.labels


def _likeness(whole: Path, student: Path | None, samples: Samples) -> float:
    found = []
    for folder in (whole, student or whole):
        loaded = checkpoint.load(folder)
        if student is None and found:
            loaded.family.set_layers(loaded.module, list(loaded.family.layers(loaded.module))[:1])
        data = encode(samples.test, loaded, 24)
        one = batch(data, list(range(len(data))))
        with torch.no_grad():
            found.append(losses.pooled(trace(loaded, one, {STATES}).outputs[-1], one.attention_mask.float()))
    return float(torch.nn.functional.cosine_similarity(*found, dim=-1).mean())


def test_a_student_of_other_labels_does_not_learn_them(tiny_bert: Path, samples: Samples, tmp_path: Path) -> None:
    step = Step(distill=Distill(losses=Losses(label=1.0, logits=0.0)))
    with pytest.raises(BuildError, match="other labels"):
        apply(step, tiny_bert, None, samples, tmp_path / "out", **TASK)
