from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer  # noqa: E402

from edgekit.compress import apply, evaluate, vocabulary  # noqa: E402
from edgekit.compress.encoded import encode  # noqa: E402
from edgekit.data.samples import Sample, Samples  # noqa: E402
from edgekit.errors import BuildError, SpecError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.spec.data import DataSpec  # noqa: E402
from edgekit.spec.recipe import ModelSpec, Recipe, Step  # noqa: E402
from edgekit.spec.shape import Factor, Hash  # noqa: E402
from edgekit.spec.steps import Vocabulary  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (16, 24)


@pytest.fixture(scope="module")
def trimmed(teacher: Path, samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trimmed") / "out"
    apply(Step(vocabulary=Vocabulary()), teacher, teacher, samples, out, lengths=LENGTHS, seed=7)
    return out


def test_training_texts_get_the_same_logits_to_the_bit(teacher: Path, trimmed: Path, samples: Samples) -> None:
    before, after = checkpoint.load(teacher), checkpoint.load(trimmed)
    assert after.structure.vocabulary < before.structure.vocabulary
    old, new = (encode(samples.train, one, LENGTHS[-1]) for one in (before, after))
    old_table, new_table = (one.family.word_embedding(one.module).weight for one in (before, after))
    for ours, theirs in zip(new.ids, old.ids, strict=True):
        assert torch.equal(new_table[ours], old_table[theirs])
    assert torch.equal(evaluate.logits(after.module, new), evaluate.logits(before.module, old))


def test_the_same_tokens_by_name(teacher: Path, trimmed: Path, samples: Samples) -> None:
    old, new = (Tokenizer.from_file(str(one / "tokenizer.json")) for one in (teacher, trimmed))
    assert [new.encode(one.text).tokens for one in samples.train] == [
        old.encode(one.text).tokens for one in samples.train
    ]
    dropped = set(old.get_vocab()) - set(new.get_vocab())
    assert {"[unused0]", "used", "##word"} <= dropped
    assert all(len(one.removeprefix("##")) > 1 for one in dropped)
    assert sorted(new.get_vocab().values()) == list(range(new.get_vocab_size()))


@settings(max_examples=50, deadline=None)
@given(st.text("abcdefghijklmnopqrstuvwxyz ", max_size=40))
def test_every_text_can_still_be_spelled(trimmed: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(trimmed / "tokenizer.json"))
    tokens = tokenizer.encode(text).tokens
    assert "[UNK]" not in tokens
    assert "".join(one.removeprefix("##") for one in tokens[1:-1]) == text.replace(" ", "")


def test_what_is_used_rarely_goes(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    sizes = []
    for count in (1, 15, 10**6):
        step = Step(vocabulary=Vocabulary(min_count=count))
        apply(step, teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
        sizes.append(checkpoint.read_structure(tmp_path / "out").vocabulary)
    # at the least: 5 special tokens, 26 letters, twice
    assert sizes[0] > sizes[1] > sizes[2] == 5 + 2 * 26


@pytest.mark.parametrize(
    "processor",
    [
        {"type": "BertProcessing", "sep": ["[SEP]", 4], "cls": ["[CLS]", 3]},
        {
            "type": "RobertaProcessing",
            "sep": ["[SEP]", 4],
            "cls": ["[CLS]", 3],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
        {"type": "Sequence", "processors": [{"type": "BertProcessing", "sep": ["[SEP]", 4], "cls": ["[CLS]", 3]}]},
        None,
    ],
)
def test_other_post_processors(teacher: Path, processor: Any) -> None:
    loaded = checkpoint.load(teacher)
    loaded.tokenizer = json.dumps({**json.loads(loaded.tokenizer), "post_processor": processor})
    before = Tokenizer.from_str(loaded.tokenizer).encode("cat runs")
    vocabulary.trim(loaded, set(before.ids))
    after = Tokenizer.from_str(loaded.tokenizer).encode("cat runs")
    assert after.tokens == before.tokens
    assert after.ids != before.ids


def test_another_kind_of_tokenizer_is_refused(teacher: Path) -> None:
    loaded = checkpoint.load(teacher)
    tokenizer = json.loads(loaded.tokenizer)
    loaded.tokenizer = json.dumps({**tokenizer, "model": {"type": "WordLevel", "vocab": {}, "unk_token": "[UNK]"}})
    with pytest.raises(BuildError, match="cannot be trimmed") as caught:
        vocabulary.trim(loaded, {1})
    assert caught.value.allowed == ["BPE", "Unigram", "WordPiece"]


def test_texts_without_labels_count_where_they_are_asked_to(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    more = replace(samples, unlabeled=["used never"])
    kept = []
    for unlabeled in (False, True):
        step = Step(vocabulary=Vocabulary(unlabeled=unlabeled))
        apply(step, teacher, teacher, more, tmp_path / "out", lengths=LENGTHS, seed=7)
        kept.append("used" in Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).get_vocab())
    assert kept == [False, True]


def test_texts_without_labels_that_are_not_there_are_refused() -> None:
    with pytest.raises(SpecError, match="no texts without labels"):
        Recipe(
            "mine",
            ModelSpec(path="x"),
            DataSpec("jsonl", files=("x",)),
            (Step(vocabulary=Vocabulary(unlabeled=True)),),
        )


def test_so_many_of_the_most_used_tokens_stay(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    whole = checkpoint.load(teacher)
    counts = Counter(one for ids in encode(samples.train, whole, 1 << 30).ids for one in ids)
    names = {number: token for token, number in Tokenizer.from_str(whole.tokenizer).get_vocab().items()}
    step = Step(vocabulary=Vocabulary(size=12, characters="seen"))
    apply(step, teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    kept = set(Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).get_vocab())
    most = sorted(counts, key=lambda one: (-counts[one], one))
    assert {names[one] for one in most[:12]} <= kept
    # what else stays is special or a single character
    assert all(len(one.removeprefix("##")) == 1 or one.startswith("[") for one in kept - {names[o] for o in most[:12]})
    assert any(len(names[one].removeprefix("##")) > 1 for one in most[12:]), "there was more to keep"


def test_characters_that_no_text_has_go_and_words_with_them_are_unknown(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    some = replace(samples, train=[Sample("cat sun", 0)], unlabeled=["abc"])
    step = Step(vocabulary=Vocabulary(unlabeled=True, characters="seen"))
    apply(step, teacher, teacher, some, tmp_path / "out", lengths=LENGTHS, seed=7)
    small = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    single = {one for one in small.get_vocab() if len(one.removeprefix("##")) == 1}
    # those within a token count as well: a word of them is spelled, though none was a token of its own
    assert single == {mark + one for one in set("catsunabc") for mark in ("", "##")}
    assert "[UNK]" not in small.encode("stab").tokens
    assert small.encode("cat x").tokens == ["[CLS]", "cat", "[UNK]", "[SEP]"]
    before, after = checkpoint.load(teacher), checkpoint.load(tmp_path / "out")
    old, new = (encode(some.train, one, LENGTHS[-1]) for one in (before, after))
    assert torch.equal(evaluate.logits(after.module, new), evaluate.logits(before.module, old))


def test_two_rules_of_what_stays_are_refused() -> None:
    with pytest.raises(SpecError, match="two rules"):
        Vocabulary(size=100, min_count=2)
    with pytest.raises(SpecError, match="too small"):
        Vocabulary(size=0)


@pytest.mark.parametrize("kind", ["factored", "hashed"])
def test_a_factored_or_hashed_table_is_trimmed_too(teacher: Path, samples: Samples, tmp_path: Path, kind: str) -> None:
    step = Step(factor=Factor(embedding=8, epochs=0)) if kind == "factored" else Step(hash=Hash(buckets=20, epochs=0))
    apply(step, teacher, teacher, samples, tmp_path / "before", lengths=LENGTHS, seed=7)
    apply(
        Step(vocabulary=Vocabulary()), tmp_path / "before", teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7
    )
    before, after = (checkpoint.load(tmp_path / name) for name in ("before", "out"))
    assert after.structure.vocabulary < before.structure.vocabulary
    old, new = (encode(samples.train, one, LENGTHS[-1]) for one in (before, after))
    assert torch.equal(evaluate.logits(after.module, new), evaluate.logits(before.module, old))
