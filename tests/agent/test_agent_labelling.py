"""Words of a text → the spans that an agent answers with, in the text as it was given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("tokenizers", reason="needs the 'host' extra")

import tiny_models
from made_releases import send_release
from running_agents import Running
from service_kit import Serving
from tokenizers import Tokenizer

from edgekit.agent import pipeline, release, store, tasks
from edgekit.agent.engine import Engine
from edgekit.agent.runtimes import language
from edgekit.client import Client
from edgekit.errors import DeviceError
from edgekit.spec import codec
from edgekit.spec.manifest import GoldenCase
from edgekit.spec.spans import Span

TAGS = ("O", "B-PET", "I-PET")
#: A cat is a pet, a dog goes on with one, and of all else the model is not sure.
ROWS = {"cat": [0.0, 3.0, 0.0], "dog": [0.0, 0.0, 1.0]}


class Runner(language.Said):
    """Logits by token, told by its name."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def run(self, length: int, ids: list[int], mask: list[int]) -> list[float]:
        numpy = pytest.importorskip("numpy")
        self._logits = numpy.array([ROWS.get(self.names[one], [2.0, 0.0, 0.0]) for one in ids], "float32")
        return self._logits[0].tolist()


@pytest.fixture
def model(tmp_path: Path) -> tasks.Model:
    made = tiny_models._tokenizer("bert")
    made.add_tokens(["cat", "dog"])
    made.save(str(tmp_path / "tokenizer.json"))
    return tasks.Model(
        "tflite", "", str(tmp_path / "tokenizer.json"), (8, 16), task="tokens", tags=TAGS, unsure_below=0.7
    )


@pytest.fixture
def engine(model: tasks.Model) -> Engine:
    names = Tokenizer.from_file(model.tokenizer)
    known = [names.id_to_token(one) for one in range(names.get_vocab_size())]
    return Engine(pipeline.Tokenizer(model.tokenizer, 16, words=True), Runner(known), model)


def test_spans_stand_in_the_text_as_it_was_given(engine: Engine) -> None:
    text = "\ufeff the\t ca\u00adt  dog,\u200b dog the cat"
    (found,) = engine.predict([text], TAGS, 3)
    assert found.spans is not None
    assert [(one.label, one.text) for one in found.spans] == [("PET", "ca\u00adt  dog"), ("PET", "dog"), ("PET", "cat")]
    assert all(text[one.start : one.end] == one.text for one in found.spans)
    assert (found.label, found.scores, found.text) == (3, (), text)


def test_a_span_is_as_likely_as_its_least_likely_word(engine: Engine) -> None:
    (found,) = engine.predict(["a cat dog, cat"], TAGS, 3)
    assert found.spans is not None
    cat, dog = (max(pipeline.softmax(ROWS[name])) for name in ("cat", "dog"))
    assert [one.score for one in found.spans] == pytest.approx([min(cat, dog), cat])
    assert [one.unsure for one in found.spans] == [True, False], "the bound is 0.7"
    assert found.unsure, "one of them is"


def test_a_text_without_any_has_none(engine: Engine) -> None:
    (found,) = engine.predict(["the the"], TAGS, 3)
    assert (found.spans, found.label, found.unsure) == ((), 0, False)


def test_words_that_were_cut_off_are_not_read(engine: Engine) -> None:
    (found,) = engine.predict(["the " * 30 + "cat"], TAGS, 3)
    assert (found.spans, found.truncated) == ((), True)


def test_a_model_of_other_tags_or_of_whole_texts_is_told(engine: Engine) -> None:
    engine.model = tasks.Model("tflite", "", "", (8, 16), task="tokens", tags=TAGS[:2])
    with pytest.raises(DeviceError, match="another number of tags"):
        list(engine.predict(["a cat"], TAGS, 3))
    numpy = pytest.importorskip("numpy")
    with pytest.raises(DeviceError, match="one answer a text"):
        language.rows(numpy.zeros(3, "float32"), [0])


#: A runtime as a board has it: what a token means is in the model's file.
INTERPRETER = """
import json
import numpy


class Interpreter:
    def __init__(self, model_path, num_threads):
        with open(model_path) as file:
            self.rows = json.load(file)

    def allocate_tensors(self):
        pass

    def get_signature_runner(self, name):
        def run(input_ids, attention_mask):
            rows = [self.rows.get(str(one), [2.0, 0.0, 0.0]) for one in input_ids[0].tolist()]
            return {"logits": numpy.array([rows], numpy.float32)}

        return run
"""


def deployed(root: Path, model: tasks.Model, golden: Sequence[GoldenCase]) -> str:
    """A release whose artifact labels words, current and confirmed."""
    folder = root / "runtimes/made/ai_edge_litert"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "interpreter.py").write_text(INTERPRETER)
    (folder.parent / store.RUNTIME_FILE).write_text(codec.dumps(store.Runtime((), 0)))
    known = Tokenizer.from_file(model.tokenizer)
    rows = json.dumps({str(known.token_to_id(name)): row for name, row in ROWS.items()})
    request = send_release(
        root,
        model=rows.encode(),
        tokenizer=Path(model.tokenizer).read_bytes(),
        golden=golden,
        runtime="made",
        labels=TAGS,
        tags=TAGS,
    )
    release.stage(root, request)
    release.activate(root, request.release)
    release.confirm(root, request.release)
    return request.release


def test_a_service_answers_with_spans_and_the_client_has_them(root: Path, model: tasks.Model) -> None:
    deployed(root, model, [GoldenCase("a cat", 1, (Span(2, 5, "PET"),))])
    texts = ["a cat", "  a\u200b cat", "a cat dog"]
    with Serving(root) as serving, Client(f"unix:{serving.socket}") as client:
        for _ in range(2):
            # the second time from the cache: what was given is the key, not what it was cleaned to
            found = client.predict(texts).predictions
            spans = [one.spans for one in found]
            assert [[(one.start, one.end, one.text) for one in each or ()] for each in spans] == [
                [(2, 5, "cat")],
                [(5, 8, "cat")],
                [(2, 9, "cat dog")],
            ]
        status, answer = serving.ask("a cat")
        assert (status, answer["predictions"][0]["spans"][0]["label"]) == (200, "PET")


@pytest.mark.parametrize(
    ("spans", "told"),
    [
        (((2, 5),), ""),
        (((2, 6),), "golden case 1 of 1: PET 2-5 instead of PET 2-6"),
        ((), "PET 2-5 instead of no span"),
    ],
)
def test_a_golden_case_is_its_spans(
    spans: Sequence[tuple[int, int]], told: str, root: Path, model: tasks.Model
) -> None:
    golden = [GoldenCase("a cat", len(spans), tuple(Span(*one, "PET") for one in spans))]
    name = deployed(root, model, golden)
    with Running(root) as agent:
        agent.hello()
        health = agent.done("health", release=name)
    assert told in health["failure"]
    assert health["ok"] == (not told)
