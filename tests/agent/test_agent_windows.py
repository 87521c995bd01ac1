"""Texts longer than a model, read window by window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")

from edgekit.agent import tasks
from edgekit.agent.engine import Engine, load
from edgekit.errors import SpecError
from edgekit.spec import codec
from edgekit.spec.data import DataSpec
from edgekit.spec.recipe import Recipe
from edgekit.spec.task import NextTokens
from edgekit.spec.windows import Windows

WORDS = [f"w{number}" for number in range(40)]
CLS, SEP, PAD = 40, 41, 42


class Counting:
    """Its logits: how many of the tokens are odd words, and how many even ones."""

    def __init__(self) -> None:
        self.read: list[tuple[int, list[int]]] = []

    def run(self, length: int, ids: list[int], mask: list[int]) -> Sequence[float]:
        real = [one for one, kept in zip(ids, mask, strict=True) if kept]
        self.read.append((length, real))
        words = [one for one in real if one < CLS]
        odd = float(sum(one % 2 for one in words))
        return [odd, len(words) - odd]

    def told(self, ids: Sequence[int]) -> NextTokens | None:
        return None


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = [*WORDS, "[CLS]", "[SEP]", "[PAD]", "[UNK]"]
    made = Tokenizer(models.WordLevel({one: number for number, one in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    written = tmp_path_factory.mktemp("windows") / "tokenizer.json"
    made.save(str(written))
    return written


def engine(file: Path, windows: Windows | None, left: bool = False) -> tuple[Engine, Counting]:
    if left:
        from edgekit.models.tokenizer import prepared

        file = file.with_name("left.json")
        file.write_text(prepared(file.with_name("tokenizer.json").read_text(), False, "left"))
    runner = Counting()
    model = tasks.Model("tflite", "none", str(file), (4, 8), windows=windows)
    return load(model, lambda path, threads: runner), runner


def text(count: int) -> str:
    return " ".join(WORDS[:count])


def test_windows_hold_every_word_and_share_the_overlap(file: Path) -> None:
    found, runner = engine(file, Windows(overlap=2))
    (one,) = found.predict([text(15)], ("odd", "even"), 2)
    words = [[id for id in ids if id < CLS] for _, ids in runner.read]
    # six words a window, beside its two special tokens; the last window is as long as what is left
    assert words == [list(range(0, 6)), list(range(4, 10)), list(range(8, 14)), list(range(12, 15))]
    assert [length for length, _ in runner.read] == [8, 8, 8, 8]
    assert all(ids[0] == CLS and ids[-1] == SEP for _, ids in runner.read)
    assert (one.windows, one.tokens, one.truncated) == (4, 8 + 8 + 8 + 5, False)


def test_the_answer_is_the_mean_of_the_windows_by_their_tokens(file: Path) -> None:
    found, _ = engine(file, Windows())
    tokens, outcome = found.answer("w1 w3 w5 w7 w9 w11 w2 w4")
    assert [len(one) for one in tokens.windows] == [8, 4]
    # the first window says (6, 0) with 8 tokens, the second (0, 2) with 4
    assert outcome.logits == (pytest.approx(6 * 8 / 12), pytest.approx(2 * 4 / 12))
    assert (outcome.label, outcome.bucket) == (0, 8)


def test_a_text_that_fits_is_one_window_as_without(file: Path) -> None:
    for windows in (None, Windows(overlap=3)):
        found, runner = engine(file, windows)
        (one,) = found.predict([text(6)], ("odd", "even"), 1)
        assert (one.windows, one.tokens, one.truncated, len(runner.read)) == (1, 8, False, 1)


def test_beyond_the_most_windows_a_text_is_cut(file: Path) -> None:
    found, runner = engine(file, Windows(most=2))
    (one,) = found.predict([text(30)], ("odd", "even"), 1)
    assert (one.windows, one.truncated, len(runner.read)) == (2, True, 2)
    cut, _ = engine(file, None)
    (one,) = cut.predict([text(30)], ("odd", "even"), 1)
    assert (one.windows, one.truncated) == (1, True)


def test_a_recipe_that_cuts_on_the_left_begins_at_the_end(file: Path) -> None:
    found, runner = engine(file, Windows(most=2), left=True)
    list(found.predict([text(30)], ("odd", "even"), 1))
    assert [sorted(id for id in ids if id < CLS) for _, ids in runner.read] == [
        list(range(24, 30)),
        list(range(18, 24)),
    ]


def test_windows_that_are_mostly_overlap_are_refused() -> None:
    with pytest.raises(SpecError, match="share more than half") as caught:
        DataSpec(source="jsonl", files=("a",), lengths=(8, 16), windows=Windows(overlap=9))
    assert caught.value.allowed == "up to 8, half of the last length"


def test_only_a_classifier_reads_windows() -> None:
    recipe = {
        "name": "mine",
        "task": "language",
        "model": {"path": "gpt2"},
        "data": {"source": "text", "files": ["a.txt"], "windows": {"overlap": 4}},
        "compress": [],
        "convert": {"formats": ["tflite"], "schemes": ["w32_a32_float"]},
    }
    with pytest.raises(SpecError, match="only a classifier reads") as caught:
        codec.decode(Recipe, recipe)
    assert caught.value.where == "$.data.windows"
