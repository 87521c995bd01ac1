"""A model that labels words, through the steps: which tokens it learns from, and how well that is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tokens_kit

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tokenizers import Tokenizer  # noqa: E402
from torch.nn.functional import cross_entropy, kl_div, log_softmax  # noqa: E402

from edgekit import compress  # noqa: E402
from edgekit.compress import evaluate, lessons, losses  # noqa: E402
from edgekit.compress.encoded import UNKNOWN, UNLABELED, alike, batch, encode  # noqa: E402
from edgekit.data import samples as sampled  # noqa: E402
from edgekit.data.samples import Sample, Samples  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.models import folder  # noqa: E402
from edgekit.spec import codec  # noqa: E402
from edgekit.spec.data import DataSpec  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.spans import Span  # noqa: E402
from edgekit.spec.step import StepReport  # noqa: E402
from edgekit.spec.training import Learning, Losses  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (16, 24)
SENTENCE = Sample("abc cat dog, sunny x", 0, (Span(4, 11, "ANIMAL"), Span(13, 18, "SKY")))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Samples:
    folder = tmp_path_factory.mktemp("spans")
    tokens_kit.write(folder, tiny_bert, count=200)
    spec = DataSpec("jsonl", ("spans.jsonl",), validation=30, test=40)
    return sampled.prepare(spec, folder, folder / "samples", 7, task="tokens")


@pytest.fixture(scope="module")
def taught(tiny_bert: Path, texts: Samples, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StepReport]:
    step = {"finetune": {"epochs": 4, "learning_rate": 4e-3, "batch": 16}}
    return run(step, tiny_bert, tiny_bert, texts, tmp_path_factory.mktemp("words") / "teacher")


def run(step: dict[str, Any], start: Path, taught_by: Path, texts: Samples, out: Path) -> tuple[Path, StepReport]:
    return out, compress.apply(codec.decode(Step, step), start, taught_by, texts, out, lengths=LENGTHS, seed=7)


def test_only_the_first_token_of_a_word_has_its_tag(taught: tuple[Path, StepReport]) -> None:
    loaded = checkpoints.load(taught[0])
    data = encode([SENTENCE], loaded, 24)
    tokenizer = Tokenizer.from_str(loaded.tokenizer)
    names = [tokenizer.id_to_token(one) for one in data.ids[0]]
    (labels,) = data.labels
    assert isinstance(labels, list)
    told = [(name, loaded.labels[label]) for name, label in zip(names, labels, strict=True) if label >= 0]
    # ',' is no token of this vocabulary, and 'sunny' is cut into pieces of which the first answers
    assert told == [("a", "O"), ("cat", "B-ANIMAL"), ("dog", "I-ANIMAL"), ("[UNK]", "O"), ("sun", "B-SKY"), ("x", "O")]
    silent = [name for name, label in zip(names, labels, strict=True) if label == UNLABELED]
    assert silent == [name for name in names if name.startswith(("##", "[CLS]", "[SEP]"))]


def test_a_text_without_labels_is_read_at_the_same_tokens(taught: tuple[Path, StepReport]) -> None:
    loaded = checkpoints.load(taught[0])
    (labelled,) = encode([SENTENCE], loaded, 24).labels
    (bare,) = encode([Sample(SENTENCE.text, UNLABELED)], loaded, 24).labels
    assert isinstance(labelled, list)
    assert isinstance(bare, list)
    assert [UNKNOWN if one >= 0 else one for one in labelled] == bare


def test_training_learns_the_words_and_accuracy_counts_them(taught: tuple[Path, StepReport], texts: Samples) -> None:
    out, report = taught
    loaded = checkpoints.load(out)
    assert (loaded.task, loaded.labels) == ("tokens", tokens_kit.TAGS)
    assert type(loaded.module).__name__ == "BertForTokenClassification"
    data = encode(texts.validation, loaded, 24)
    found = evaluate.told(loaded.module, data)
    assert found.tokens == sum(label >= 0 for row in data.labels if isinstance(row, list) for label in row)
    assert found.accuracy == pytest.approx(report.validation_accuracy)
    outside = sum(label == 0 for row in data.labels if isinstance(row, list) for label in row)
    assert found.accuracy > 100 * outside / found.tokens + 5, "more than saying O of every word"


def test_the_label_loss_is_transformers_own(taught: tuple[Path, StepReport], texts: Samples) -> None:
    loaded = checkpoints.load(taught[0])
    one = batch(encode(texts.test[:1], loaded, 24), [0])
    with torch.inference_mode():
        answer = loaded.module(
            one.input_ids, one.attention_mask, labels=one.labels.clamp(min=-1).where(one.labels >= 0, -100)
        )
        ours = losses.surprise(answer.logits, one.labels)
    assert float(ours[0]) == pytest.approx(float(answer.loss), rel=1e-5)


def lesson_of(student: Path, teacher: Path, rows: list[Sample]) -> tuple[lessons.Lessons, Any]:
    ours, theirs = checkpoints.load(student), checkpoints.load(teacher)
    data, asked = encode(rows, ours, 24), encode(rows, theirs, 24)
    same = torch.tensor(alike([one.text for one in rows], ours, theirs, 24))
    options = Learning(losses=Losses(label=0.0, logits=1.0), temperature=1.0)
    return lessons.Lessons(ours, theirs, options, asked, same, None, None, []), batch(data, list(range(len(rows))))


def test_logits_are_learned_at_words_alone_with_labels_or_without(
    taught: tuple[Path, StepReport], texts: Samples, tmp_path: Path
) -> None:
    student, _ = run(
        {"distill": {"layers": [0], "epochs": 1, "batch": 64}}, taught[0], taught[0], texts, tmp_path / "s"
    )
    rows = [texts.train[0], Sample(texts.train[1].text, UNLABELED)]
    taught_by, one = lesson_of(student, taught[0], rows)
    with torch.inference_mode():
        found = float(taught_by(one))
        ours, theirs = (
            log_softmax(each.module(one.input_ids, one.attention_mask).logits, -1)
            for each in (taught_by.student, taught_by.teacher)
        )
    each = kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)
    wanted = [float(each[row][one.labels[row] != UNLABELED].mean()) for row in range(2)]
    assert found == pytest.approx(sum(wanted) / 2, rel=1e-4)
    assert all(value > 0 for value in wanted)


def test_the_steps_after_know_what_it_is_for(taught: tuple[Path, StepReport], texts: Samples, tmp_path: Path) -> None:
    trimmed, _ = run({"vocabulary": {}}, taught[0], taught[0], texts, tmp_path / "trimmed")
    cut, report = run(
        {"prune": {"heads": 2, "ffn": 32, "samples": 16, "epochs": 1, "batch": 32}},
        trimmed,
        taught[0],
        texts,
        tmp_path / "cut",
    )
    loaded = checkpoints.load(cut)
    assert (loaded.task, loaded.labels) == ("tokens", tokens_kit.TAGS)
    assert {one.ffn for one in loaded.structure.layers} == {32}
    assert report.perplexity is None
    assert loaded.structure.macs(16) > 16 * 4 * 32 * 16, "all layers compute all tokens"


def test_a_plain_model_of_words_is_known_by_its_architecture(
    taught: tuple[Path, StepReport], tiny_bert: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    transformers.AutoModelForTokenClassification.from_pretrained(taught[0]).save_pretrained(plain)
    (plain / "tokenizer.json").write_text((taught[0] / "tokenizer.json").read_text())
    assert folder.labels(plain, "tokens") == tokens_kit.TAGS
    assert folder.labels(plain) == (), "it classifies no texts"
    assert folder.labels(taught[0]) == ()
    compress.adopt(plain, tmp_path / "adopted", "tokens")
    ours, theirs = checkpoints.load(taught[0]), checkpoints.load(tmp_path / "adopted")
    one = batch(encode([SENTENCE], ours, 24), [0])
    with torch.inference_mode():
        given, wanted = (each.module(one.input_ids, one.attention_mask).logits for each in (ours, theirs))
    torch.testing.assert_close(given, wanted)


def test_a_family_without_such_models_says_so(tiny_models_of: dict[str, Path]) -> None:
    with pytest.raises(BuildError, match="no such models") as caught:
        checkpoints.load(tiny_models_of["transformer-xl"], tokens_kit.TAGS, "tokens")
    assert caught.value.where == "$.task"


def test_another_tasks_checkpoint_is_refused(taught: tuple[Path, StepReport]) -> None:
    with pytest.raises(BuildError, match="another task"):
        checkpoints.load(taught[0], task="classify")


def test_the_loss_of_no_words_is_nothing() -> None:
    logits, labels = torch.zeros(1, 3, 5), torch.full((1, 3), UNLABELED)
    assert float(losses.surprise(logits, labels)) == 0.0
    labels[0, 1] = UNKNOWN
    assert float(losses.surprise(logits, labels)) == 0.0
    labels[0, 2] = 4
    assert float(losses.surprise(logits, labels)) == pytest.approx(
        float(cross_entropy(torch.zeros(1, 5), torch.tensor([4])))
    )
