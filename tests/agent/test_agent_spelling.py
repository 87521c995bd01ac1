"""Text as it comes, token by token: whole characters, and nothing of a stop word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from edgekit.agent.spelling import Speller, Stops

tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def byte_level() -> Any:
    """GPT-2's kind, without a single merge: each token is one byte."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        [], tokenizers.trainers.BpeTrainer(vocab_size=256, initial_alphabet=alphabet, show_progress=False)
    )
    return made


def told(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    speller = Speller(lambda run: tokenizer.decode(list(run)))
    return [speller.add(one) for one in ids]


def test_an_emoji_of_four_tokens_is_told_whole(byte_level: Any) -> None:
    ids = byte_level.encode("a😀é").ids
    assert len(ids) == 1 + 4 + 2
    assert told(byte_level, ids) == ["a", "", "", "", "😀", "", "é"]


def test_a_vocabulary_that_spells_rare_characters_in_bytes_tells_them_whole() -> None:
    """SentencePiece's kind: its decoder marks each byte of an incomplete character."""
    words = {f"<0x{number:02X}>": number for number in range(256)} | {"a": 256, "b": 257, "<unk>": 258}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(words, [], byte_fallback=True, unk_token="<unk>"))
    made.decoder = tokenizers.decoders.Sequence([tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse()])
    ids = [256, *"😀é".encode(), 257]
    assert told(made, ids) == ["a", "", "", "", "😀", "", "é", "b"]


def test_half_a_character_at_the_end_is_never_told(byte_level: Any) -> None:
    assert "".join(told(byte_level, byte_level.encode("ok 😀").ids[:-1])) == "ok "


def test_bytes_that_are_no_character_do_not_hold_up_what_follows(byte_level: Any) -> None:
    broken = byte_level.encode("😀").ids[:2]
    pieces = told(byte_level, [*broken, *byte_level.encode("abc").ids])
    assert "".join(pieces).endswith("abc")
    assert pieces[-1] == "c"


@pytest.mark.parametrize("text", ["dogs run, never a sunny word", "naïve café – 日本語 👩‍👩‍👧 ok", "  two  spaces"])
def test_the_pieces_together_are_what_the_tokenizer_says_of_all(byte_level: Any, text: str) -> None:
    ids = byte_level.encode(text).ids
    assert "".join(told(byte_level, ids)) == byte_level.decode(ids) == text


def test_words_of_a_wordpiece_vocabulary_have_their_spaces() -> None:
    words = {"[UNK]": 0, "run": 1, "##ning": 2, "dogs": 3}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(words, unk_token="[UNK]"))
    made.decoder = tokenizers.decoders.WordPiece()
    assert "".join(told(made, [3, 1, 2, 3])) == "dogs running dogs"


def passed(words: Sequence[str], pieces: Sequence[str]) -> tuple[list[str], bool]:
    stops, found = Stops(words), []
    for one in pieces:
        text, met = stops.add(one)
        found.append(text)
        if met:
            return found, True
    return [*found, stops.end()], False


def test_a_stop_word_across_tokens_is_met_and_left_out() -> None:
    assert passed(["END"], ["go on E", "N", "D and more"]) == (["go on ", "", ""], True)


def test_what_only_began_as_a_stop_word_is_told_in_the_end() -> None:
    assert passed(["END"], ["an E", "N", "gine", " EN"]) == (["an ", "", "ENgine", " ", "EN"], False)


def test_the_first_of_several_stop_words_counts() -> None:
    assert passed(["\n", "dog"], ["a cat", " and a dog\n"]) == (["a cat", " and a "], True)
    assert passed([], ["as", " it is"]) == (["as", " it is", ""], False)


def test_a_word_that_begins_within_its_own_beginning_is_met() -> None:
    assert passed(["aab"], ["a", "a", "a", "b"]) == (["", "", "a", ""], True)
