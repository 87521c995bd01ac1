"""A causal language model through the steps: what it learns, and how well that is measured."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import language_kit
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from torch.nn.functional import kl_div, log_softmax  # noqa: E402

from edgekit import compress  # noqa: E402
from edgekit.compress import evaluate, losses, memory, vocabulary  # noqa: E402
from edgekit.compress.encoded import UNLABELED, batch, encode, places  # noqa: E402
from edgekit.data.samples import Sample, Samples  # noqa: E402
from edgekit.errors import BuildError, DataError  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.models.checkpoint import Checkpoint  # noqa: E402
from edgekit.spec import codec  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.step import StepReport  # noqa: E402
from edgekit.spec.training import Training  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (8, 16)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    texts = [Sample(one, 0) for one in dict.fromkeys(language_kit.texts(240))]
    return Samples(tmp_path_factory.mktemp("chain"), (), "0" * 64, texts[:120], texts[120:150], texts[150:180])


@pytest.fixture(scope="module")
def adopted(tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("language") / "adopted"
    compress.adopt(tiny_models_of["gpt2"], out)
    return out


@pytest.fixture(scope="module")
def told(adopted: Path, chain: Samples) -> tuple[Path, StepReport]:
    """The teacher, and what its training said."""
    return run({"finetune": {"epochs": 4, "learning_rate": 5e-3, "batch": 16}}, adopted, adopted, chain, "teacher")


@pytest.fixture(scope="module")
def teacher(told: tuple[Path, StepReport]) -> Path:
    return told[0]


def run(step: dict[str, Any], start: Path, taught_by: Path, chain: Samples, name: str) -> tuple[Path, StepReport]:
    out = start.with_name(name)
    done = compress.apply(codec.decode(Step, step), start, taught_by, chain, out, lengths=LENGTHS, seed=7)
    return out, done


def output(loaded: Checkpoint) -> Any:
    return loaded.family.head(loaded.module).classifier


def divergence(student: Checkpoint, main: Checkpoint, samples: list[Sample]) -> float:
    """Mean KL of the student's next tokens from the teacher's, over all tokens; both have one vocabulary."""
    one = batch(encode(samples, student, 16), list(range(len(samples))))
    with torch.inference_mode():
        ours, theirs = (
            log_softmax(each.module(one.input_ids, one.attention_mask).logits, -1) for each in (student, main)
        )
    each = kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)
    return float(each[one.attention_mask == 1].mean())


def test_perplexity_is_that_of_transformers_own_loss(teacher: Path, chain: Samples) -> None:
    loaded = checkpoints.load(teacher)
    plain = transformers.AutoModelForCausalLM.from_pretrained(teacher)
    total, count = 0.0, 0
    for ids in encode(chain.test, loaded, 16).ids:
        row = torch.tensor([ids])
        with torch.inference_mode():
            total += float(plain(input_ids=row, labels=row).loss) * (len(ids) - 1)
        count += len(ids) - 1
    found = evaluate.told(loaded.module, encode(chain.test, loaded, 16))
    assert found.tokens == count
    assert found.perplexity == pytest.approx(math.exp(total / count), rel=1e-5)


def test_a_model_that_answers_all_alike_is_as_perplexed_as_its_vocabulary_is_large(
    adopted: Path, chain: Samples
) -> None:
    loaded = checkpoints.load(adopted)
    with torch.no_grad():
        loaded.family.word_embedding(loaded.module).weight.zero_()
    found = evaluate.told(loaded.module, encode(chain.test, loaded, 16))
    assert found.perplexity == pytest.approx(loaded.structure.vocabulary, rel=1e-5)
    assert evaluate.score(loaded.module, encode(chain.test, loaded, 16)) == pytest.approx(100 / found.perplexity)


def test_training_learns_the_chain_and_says_its_perplexity(told: tuple[Path, StepReport], chain: Samples) -> None:
    out, report = told
    assert report.perplexity is not None
    assert report.perplexity < 30, "untrained it is above 290"
    assert report.perplexity == pytest.approx(100 / max(report.accuracies)), "the best epoch is the least perplexed"
    loaded = checkpoints.load(out)
    again = evaluate.told(loaded.module, encode(chain.validation, loaded, 16))
    assert again.perplexity == pytest.approx(report.perplexity, rel=1e-6)


def test_progress_tells_perplexity_too(adopted: Path, chain: Samples) -> None:
    said: list[str] = []
    step = codec.decode(Step, {"finetune": {"epochs": 2, "learning_rate": 5e-3, "batch": 60}})
    out = adopted.with_name("heard")
    done = compress.apply(
        step, adopted, adopted, chain, out, lengths=LENGTHS, seed=7, report=lambda words, _: said.append(words)
    )
    assert f", validation perplexity {100 / done.accuracies[0]:.1f}, " in said[-1]


def test_texts_of_one_token_are_refused_and_not_called_perfect(adopted: Path, chain: Samples) -> None:
    letters = [Sample(one, 0) for one in "bcdefghijk"]
    alone = replace(chain, train=letters, validation=letters, test=letters)
    with pytest.raises(DataError, match="two tokens"):
        run({"finetune": {"epochs": 1}}, adopted, adopted, alone, "letters")


def test_padding_and_the_company_of_longer_texts_change_no_loss(teacher: Path, chain: Samples) -> None:
    loaded = checkpoints.load(teacher)
    data = encode(chain.test[:6], loaded, 16)

    def each(rows: list[int], length: int = 0) -> torch.Tensor:
        one = batch(data, rows, length)
        with torch.inference_mode():
            return losses.surprise(loaded.module(one.input_ids, one.attention_mask).logits, one.labels)

    together = each(list(range(6)), 16)
    alone = torch.cat([each([row]) for row in range(6)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_text_without_a_label_teaches_no_next_token(teacher: Path, chain: Samples) -> None:
    loaded = checkpoints.load(teacher)
    one = batch(encode([chain.test[0], replace(chain.test[1], label=UNLABELED)], loaded, 16), [0, 1])
    assert (one.labels[0] != UNLABELED).sum() == one.attention_mask[0].sum() - 1
    assert (one.labels[1] == UNLABELED).all()
    assert one.padded(20, 0).labels.shape == (2, 20)


def test_the_output_is_the_embedding_stored_once_and_loads_without_edgekit(teacher: Path, chain: Samples) -> None:
    loaded = checkpoints.load(teacher)
    assert output(loaded).weight is loaded.family.word_embedding(loaded.module).weight
    assert not [name for name in load_file(teacher / "model.safetensors") if "lm_head" in name]
    config = json.loads((teacher / "config.json").read_text())
    assert config["architectures"] == ["GPT2LMHeadModel"]
    plain = transformers.AutoModelForCausalLM.from_pretrained(teacher)
    one = batch(encode(chain.test[:4], loaded, 16), [0, 1, 2, 3])
    with torch.inference_mode():
        given = plain(one.input_ids, attention_mask=one.attention_mask).logits
        wanted = loaded.module(one.input_ids, one.attention_mask).logits
    assert torch.equal(given, wanted)


def test_a_trimmed_vocabulary_trims_the_output_with_it(teacher: Path, chain: Samples, tmp_path: Path) -> None:
    whole, loaded = checkpoints.load(teacher), checkpoints.load(teacher)
    used = {token for ids in encode(chain.train, loaded, 16).ids for token in ids}
    spare = max(number for number in Tokenizer.from_str(loaded.tokenizer).get_vocab().values() if number not in used)
    vocabulary.trim(loaded, set(range(whole.structure.vocabulary)) - {spare})
    table = loaded.family.word_embedding(loaded.module)
    assert output(loaded).weight is table.weight
    assert output(loaded).out_features == table.num_embeddings == loaded.structure.vocabulary
    checkpoints.save(loaded, tmp_path / "out")
    again = checkpoints.load(tmp_path / "out")
    assert output(again).weight is again.family.word_embedding(again.module).weight
    columns = places(again, whole)
    ours, theirs = (batch(encode(chain.test[:3], one, 16), [0, 1, 2]) for one in (again, whole))
    with torch.inference_mode():
        given = again.module(ours.input_ids, ours.attention_mask).logits
        wanted = whole.module(theirs.input_ids, theirs.attention_mask).logits[..., columns]
    torch.testing.assert_close(given, wanted)


def test_an_untied_output_is_trimmed_as_well(adopted: Path) -> None:
    loaded = checkpoints.load(adopted)
    own = output(loaded).weight.detach().clone() + 1
    output(loaded).weight = torch.nn.Parameter(own)
    vocabulary.trim(loaded, set(range(10)))
    table = loaded.family.word_embedding(loaded.module)
    assert output(loaded).weight is not table.weight
    assert len(output(loaded).weight) == len(table.weight) == output(loaded).out_features


def test_distillation_brings_the_student_closer_to_its_teacher(teacher: Path, chain: Samples) -> None:
    main, before = checkpoints.load(teacher), checkpoints.load(teacher)
    before.family.set_layers(before.module, list(before.family.layers(before.module))[::2])
    step = {"distill": {"layers": [0, 2], "epochs": 2, "learning_rate": 3e-3, "batch": 16, "losses": {"label": 0}}}
    out, report = run(step, teacher, teacher, chain, "student")
    after = checkpoints.load(out)
    assert divergence(after, main, chain.test) < 0.5 * divergence(before, main, chain.test)
    assert report.losses[-1] < report.losses[0]
    assert report.perplexity is not None


def test_a_student_of_fewer_tokens_learns_how_its_teacher_chooses_among_those(teacher: Path, chain: Samples) -> None:
    """Its own vocabulary is numbered anew; the teacher's columns are picked by the tokens' names."""
    loaded, main = checkpoints.load(teacher), checkpoints.load(teacher)
    used = {token for ids in encode([*chain.train, *chain.validation], loaded, 16).ids for token in ids}
    numbers = Tokenizer.from_str(loaded.tokenizer).get_vocab().values()
    vocabulary.trim(loaded, set(numbers) - {max(number for number in numbers if number not in used)})
    trimmed = teacher.with_name("trimmed")
    checkpoints.save(loaded, trimmed)
    options = {"epochs": 1, "batch": 16, "learning_rate": 1e-8, "losses": {"label": 0}, "student": {"dropout": 0.0}}
    step = {"distill": options}
    _, report = run(step, trimmed, teacher, chain, "learned")
    assert loaded.structure.vocabulary < main.structure.vocabulary
    assert report.losses[0] < 1e-6, "it is its teacher still"


@pytest.mark.parametrize(
    "step",
    [
        {"distill": {"epochs": 1, "batch": 16, "losses": {"label": 0, "hidden": 1, "attention": 1, "relations": 1}}},
        {"distill": {"layers": [0, 1], "epochs": 1, "batch": 16, "losses": {"snapshot": 1, "fold": 1, "embedding": 1}}},
        {"distill": {"student": {"start": "fresh", "layers": 1, "hidden": 16, "heads": 2, "ffn": 32}, "epochs": 1}},
        {"prune": {"heads": 2, "ffn": 32, "samples": 16, "epochs": 0, "criterion": "taylor"}},
        {"prune": {"hidden": 24, "samples": 16, "epochs": 0}},
        {"prune": {"sparsity": 0.5, "samples": 16, "epochs": 0, "criterion": "taylor"}},
        {"prune": {"ffn": 32, "scope": "sensitivity", "samples": 16, "epochs": 0}},
        {"factor": {"ffn": 8, "attention": 8, "epochs": 0, "samples": 16}},
        {"share": {"groups": 1, "epochs": 0}},
        {"cluster": {"values": 16, "embedding": 16, "epochs": 0}},
        {"qat": {"scheme": "w8_a8_static", "epochs": 0, "samples": 16}},
        {"qat": {"scheme": "w8_a32_dynamic", "epochs": 0, "clipping": "lsq"}},
    ],
    ids=lambda step: "-".join([*step, *next(iter(step.values()))][:3]),
)
def test_every_step_leaves_a_language_model_whose_output_is_its_embedding(
    step: dict[str, Any], teacher: Path, chain: Samples, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    report = compress.apply(codec.decode(Step, step), teacher, teacher, chain, out, lengths=LENGTHS, seed=7)
    after = checkpoints.load(out)
    assert after.task == "language"
    assert output(after).weight is after.family.word_embedding(after.module).weight
    found = evaluate.told(after.module, encode(chain.validation, after, 16))
    assert report.perplexity == pytest.approx(found.perplexity, rel=0.02), "what was reported is what was saved"


def test_a_family_that_sees_the_next_token_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="sees the next token") as caught:
        compress.adopt(tiny_bert, tmp_path / "out")
    assert caught.value.allowed == ["gpt2", "transformer-xl"]
    assert not (tmp_path / "out").exists()


def test_a_classifiers_checkpoint_is_no_language_model(tiny_models_of: dict[str, Path], tmp_path: Path) -> None:
    loaded = checkpoints.load(tiny_models_of["gpt2"], ["a", "b"])
    checkpoints.save(loaded, tmp_path / "classifier")
    with pytest.raises(BuildError, match="another task"):
        compress.adopt(tmp_path / "classifier", tmp_path / "out")


def test_transformer_xl_learns_the_chain_too(tiny_models_of: dict[str, Path], chain: Samples, tmp_path: Path) -> None:
    compress.adopt(tiny_models_of["transformer-xl"], tmp_path / "adopted")
    step = {"finetune": {"epochs": 2, "learning_rate": 5e-3, "batch": 16}}
    out, report = run(step, tmp_path / "adopted", tmp_path / "adopted", chain, "teacher")
    assert report.perplexity is not None
    assert report.perplexity < 30, "untrained it is above 80"
    after = checkpoints.load(out)
    assert output(after).weight is after.family.word_embedding(after.module).weight


def test_logits_of_all_tokens_count_as_memory(teacher: Path) -> None:
    structure = checkpoints.read_structure(teacher)
    asked = {one: memory.each(replace(structure, vocabulary=one), Training(), 16) for one in (0, 50_000)}
    assert asked[50_000] - asked[0] >= 16 * 50_000 * 4 * 3, "logits, their softmax and gradient at least"
    assert structure.macs(16) > replace(structure, task="classify").macs(16)
