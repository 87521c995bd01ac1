from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
tokenizers = pytest.importorskip("tokenizers")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

from edgekit.compress import tokenizer  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402

pytestmark = pytest.mark.torch

WORDS = [
    *("low", "lower", "lowest", "newer", "newest", "wide", "wider", "widest", "sun", "sunny", "sunnier", "rain"),
    *("rains", "rained", "raining", "retrain", "train", "trains", "training", "café", "naïve", "über", "straße"),
]


def corpus() -> list[str]:
    draw = random.Random(9)
    return [" ".join(draw.choices(WORDS, k=8)) for _ in range(300)]


def byte_level() -> Tokenizer:
    """As GPT-2's and RoBERTa's: all 256 bytes, merges on top, a special token."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(corpus(), trainer)
    return made


def suffixed() -> Tokenizer:
    """As CLIP's: a word's end is part of the token."""
    made = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Whitespace(), decoders.BPEDecoder("</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=160, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    made.train_from_iterator(corpus(), trainer)
    return made


def inner() -> Tokenizer:
    """Inner pieces carry a prefix, which a merge drops."""
    made = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece("##")
    trainer = trainers.BpeTrainer(
        vocab_size=160, special_tokens=["<unk>"], continuing_subword_prefix="##", show_progress=False
    )
    made.train_from_iterator(corpus(), trainer)
    return made


def unigram() -> Tokenizer:
    """As ALBERT's."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(corpus(), trainer)
    return made


MADE = {one.__name__: one() for one in (byte_level, suffixed, inner, unigram)}


def trimmed(whole: Tokenizer, texts: list[str]) -> Tokenizer:
    described: dict[str, Any] = json.loads(whole.to_str())
    used = {number for text in texts for number in whole.encode(text).ids}
    kept = tokenizer.closed(described, used)
    numbers = {old: new for new, old in enumerate(kept)}
    return Tokenizer.from_str(json.dumps(tokenizer.renumbered(described, numbers)))


@pytest.mark.parametrize("kind", MADE)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_used_texts_are_split_as_before(kind: str, data: st.DataObject) -> None:
    pieces = st.one_of(st.sampled_from(WORDS), st.text("lowernstaiß?", min_size=1, max_size=9))
    texts = data.draw(st.lists(st.lists(pieces, min_size=1, max_size=5).map(" ".join), min_size=1, max_size=6))
    small = trimmed(MADE[kind], texts)
    for text in texts:
        before, after = MADE[kind].encode(text), small.encode(text)
        assert after.tokens == before.tokens
        assert [small.id_to_token(one) for one in after.ids] == [MADE[kind].id_to_token(one) for one in before.ids]
    assert sorted(small.get_vocab().values()) == list(range(small.get_vocab_size()))


@pytest.mark.parametrize("kind", MADE)
def test_it_is_smaller_and_saves_what_it_must(kind: str) -> None:
    small = trimmed(MADE[kind], ["low sunny"])
    assert small.get_vocab_size() < MADE[kind].get_vocab_size()
    assert small.encode("low sunny").tokens == MADE[kind].encode("low sunny").tokens
    kept = set(small.get_vocab())
    assert all(token in kept for token in MADE[kind].get_vocab() if len(token) == 1 or token.startswith("<"))


@pytest.mark.parametrize("kind", ["suffixed", "inner", "unigram"])
def test_unseen_characters_go_where_there_is_a_token_for_the_unknown(kind: str) -> None:
    whole = MADE[kind]
    described: dict[str, Any] = json.loads(whole.to_str())
    used = set(whole.encode("low sunny").ids)
    kept = tokenizer.closed(described, used, used)
    small = Tokenizer.from_str(json.dumps(tokenizer.renumbered(described, {old: new for new, old in enumerate(kept)})))
    assert small.encode("low sunny").tokens == whole.encode("low sunny").tokens
    there = {one.removeprefix("##").removesuffix("</w>") for one in small.get_vocab()}
    assert {one for one in there if len(one) == 1} - {"▁"} <= set("lowsuny")
    assert small.token_to_id("<unk>") in small.encode("wide").ids
    assert small.get_vocab_size() < trimmed(whole, ["low sunny"]).get_vocab_size()


def test_unseen_characters_stay_where_they_would_be_lost_without_a_trace() -> None:
    described: dict[str, Any] = json.loads(MADE["byte_level"].to_str())
    with pytest.raises(BuildError, match="without a trace") as caught:
        tokenizer.closed(described, {1}, {1})
    assert caught.value.remedy == "characters: all"


@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_bytes_spell_every_text(text: str) -> None:
    small = trimmed(MADE["byte_level"], ["low sunny"])
    assert small.decode(small.encode(text).ids) == text
    assert {token for token in small.get_vocab() if len(token) == 1} == set(pre_tokenizers.ByteLevel.alphabet())


def test_joins_that_lead_to_a_kept_token_are_kept_and_others_go() -> None:
    before, after = (
        json.loads(one.to_str())["model"] for one in (MADE["byte_level"], trimmed(MADE["byte_level"], ["low"]))
    )
    vocabulary = set(after["vocab"])
    assert 0 < len(after["merges"]) < len(before["merges"])
    assert [one for one in before["merges"] if one in after["merges"]] == after["merges"], "in their order"
    assert all({left, right, left + right} <= vocabulary for left, right in after["merges"])


def test_merges_written_as_texts_are_read_too() -> None:
    described = json.loads(MADE["byte_level"].to_str())
    described["model"]["merges"] = [" ".join(one) for one in described["model"]["merges"]]
    whole = Tokenizer.from_str(json.dumps(described))
    small = trimmed(whole, ["lower newest"])
    assert small.encode("lower newest").tokens == whole.encode("lower newest").tokens


def test_an_unknown_character_costs_what_it_did() -> None:
    """Unigram counts an unknown character from the least score: with that gone, this text would be split otherwise."""
    scores = {"<unk>": 0.0, "▁": -2.0, "a": -9.0, "b": -9.0, "c": -9.0, "cx": -9.0, "abc": -1.0, "▁rare": -20.0}
    model = {"type": "Unigram", "unk_id": 0, "vocab": [list(one) for one in scores.items()], "byte_fallback": False}
    whole = Tokenizer.from_str(json.dumps({**json.loads(MADE["unigram"].to_str()), "model": model, "added_tokens": []}))
    small = trimmed(whole, ["abcx", "abc"])
    assert whole.encode("abcx").tokens == small.encode("abcx").tokens == ["▁", "a", "b", "cx"]
    assert small.encode("abc").tokens == ["▁", "abc"]
