"""Every kind of answer on an emulated Raspberry Pi 4: spans, embeddings, a stream's class, a Keras model's labels.

Each bundle is built here, deployed there, and must answer as it does here; the deploy itself holds the golden cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import embed_kit
import numpy as np
import pipeline_kit
import pytest
import tokens_kit
from served_kit import Service

from edgekit import pipeline
from edgekit.agent import tasks, work
from edgekit.bundle import blob_file
from edgekit.client import Client
from edgekit.errors import DeviceError
from edgekit.home import Home
from edgekit.outcome import Built
from edgekit.spec.progress import quiet
from edgekit.spec.wire import Prediction

pytestmark = [pytest.mark.emulated, pytest.mark.torch, pytest.mark.slow]
NAME = "rpi4-tasks"
TEXTS = ("ab cat dog, xyz sunny rain", "a dog runs", "never rain")
#: A causal classifier keeps what it has read, as a language model does.
STREAM = """\
name: follows
model: {path: bert}
data:
  source: jsonl
  files: [mine.jsonl]
  validation: 24
  test: 60
  lengths: [16]
compress:
  - finetune: {epochs: 2, learning_rate: 5.0e-3, batch: 16}
convert:
  schemes: [w8_a32_dynamic]
  generation: {context: 32}
gates: {accuracy_drop: 60}
"""


@pytest.fixture(scope="module")
def board(home: Home) -> Iterator[str]:
    yield pipeline.device_up("rpi4", name=NAME, home=home).name
    pipeline.device_down(NAME, home=home)


def here(built: Built, *texts: str) -> tuple[Prediction, ...]:
    """The shipped file's answers, by the same code on this host."""
    artifact = built.manifest.optimized
    file, tokenizer = (str(blob_file(built.bundle, one)) for one in (artifact.blob, artifact.tokenizer))
    model = tasks.Model(
        artifact.format,
        file,
        tokenizer,
        artifact.lengths,
        dynamic=artifact.dynamic,
        task=artifact.task,
        tags=artifact.tags,
    )
    return work.ask({}, tasks.Ask(model, texts, built.manifest.labels, 1), quiet).predictions


def deployed(built: Built, board: str, home: Home) -> None:
    health = pipeline.deploy(built.bundle, device=board, home=home).health
    assert health is not None
    assert (health.ok, health.agreed) == (True, health.cases)


def test_spans_are_found_where_the_host_finds_them(
    board: str, home: Home, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recipe = tokens_kit.write(tmp_path_factory.mktemp("spans"), tiny_bert)
    built = pipeline.build(recipe, overrides=["convert.formats=[tflite]"], home=home)
    deployed(built, board, home)
    found = pipeline.predict(TEXTS, device=board, home=home).predictions
    wanted = [one.spans for one in here(built, *TEXTS)]
    places = [[(span.start, span.end, span.label) for span in one.spans or ()] for one in found]
    assert places == [[(span.start, span.end, span.label) for span in one or ()] for one in wanted]
    assert any(places), "a test without a span says nothing"


def test_embeddings_are_the_hosts_but_for_rounding(
    board: str, home: Home, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recipe = embed_kit.write(tmp_path_factory.mktemp("near"), tiny_bert)
    built = pipeline.build(recipe, overrides=["convert.formats=[tflite]"], home=home)
    deployed(built, board, home)
    found = np.array([one.embedding for one in pipeline.predict(TEXTS, device=board, home=home).predictions])
    wanted = np.array([one.embedding for one in here(built, *TEXTS)])
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert ((found * wanted).sum(axis=1) > 0.999).all()
    assert (found @ wanted.T).argmax(axis=1).tolist() == [0, 1, 2], "texts are told apart"


def test_a_stream_is_classified_by_all_it_said_and_ends_with_its_runtime(
    board: str,
    home: Home,
    tiny_models_of: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
) -> None:
    recipe = pipeline_kit.write(tmp_path_factory.mktemp("stream"), tiny_models_of["gpt2"], STREAM)
    built = pipeline.build(recipe, home=home)
    assert built.manifest.optimized.follows
    deployed(built, board, home)
    parts = ("sunny abc", " the cats", " a dog runs")
    with Service(home, NAME, tmp_path) as service, Client(service.url) as client:
        read = 0
        for number, part in enumerate(parts):
            answer = client.follow("mine", part, after=read)
            assert answer.read is not None
            assert answer.read > read
            read = answer.read
            (whole,) = here(built, "".join(parts[: number + 1]))
            assert answer.label == whole.label
        service.run(f"kill -9 {client.health().runtime}")
        with pytest.raises(DeviceError, match="not known any more"):
            client.follow("mine", "rain", after=read)


@pytest.mark.tensorflow
def test_a_keras_model_answers_there_as_here(board: str, home: Home, keras_models: Path) -> None:
    built = pipeline.build(keras_models / "mine.yaml", home=home)
    deployed(built, board, home)
    found = pipeline.predict(TEXTS, device=board, home=home).predictions
    assert [one.label for one in found] == [one.label for one in here(built, *TEXTS)]
