"""A language model that generates, deployed to an emulated Raspberry Pi 4: the host's tokens, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import language_kit
import pytest
from served_kit import Service

from edgekit import pipeline
from edgekit.agent import generate, tasks
from edgekit.bundle import blob_file
from edgekit.client import Client
from edgekit.errors import DeviceError
from edgekit.home import Home
from edgekit.outcome import Built
from edgekit.spec.device import Device
from edgekit.spec.wire import Generate

pytestmark = [pytest.mark.emulated, pytest.mark.torch, pytest.mark.slow]
NAME, CONTEXT = "rpi4-writes", 24
RECIPE = """\
name: writes
task: language
model: {path: gpt2}
data: {source: text, files: [chain.txt], validation: 20, test: 20, lengths: [8]}
compress:
  - finetune: {epochs: 2, learning_rate: 5.0e-3, batch: 16}
  - distill: {layers: [0], epochs: 1, learning_rate: 3.0e-3, batch: 16}
convert:
  schemes: [w32_a32_float]
  generation: {context: 24}
"""


@pytest.fixture(scope="module")
def built(home: Home, tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Built:
    recipe = language_kit.write(tmp_path_factory.mktemp("recipe"), tiny_models_of["gpt2"], RECIPE, count=120)
    return pipeline.build(recipe, home=home)


@pytest.fixture(scope="module")
def board(home: Home, built: Built) -> Iterator[Device]:
    yield pipeline.device_up("rpi4", name=NAME, clock="counted", home=home)
    pipeline.device_down(NAME, home=home)


def test_the_board_writes_the_hosts_tokens(home: Home, board: Device, built: Built) -> None:
    pipeline.deploy(built.bundle, device=NAME, home=home)
    artifact = built.manifest.optimized
    assert artifact.context == CONTEXT
    file, tokenizer = (str(blob_file(built.bundle, one)) for one in (artifact.blob, artifact.tokenizer))
    writer = generate.load(tasks.Model("tflite", file, tokenizer, artifact.lengths))
    pieces: list[str] = []
    for prompt, count in (("a cat", 12), ("a cat and a dog never run", 40)):
        wanted = writer.write(Generate(prompt, count), lambda piece: None)
        pieces.clear()
        given = pipeline.generate(prompt, device=NAME, max_tokens=count, tell=pieces.append, home=home)
        assert given.tokens == wanted.tokens
        assert (given.text, given.stopped) == (wanted.text, wanted.stopped)
        assert "".join(pieces) == given.text
        assert given.release == built.digest
    drawn = [
        pipeline.generate("a dog", device=NAME, max_tokens=12, temperature=1.2, top_k=9, seed=2, home=home)
        for _ in range(2)
    ]
    assert drawn[0].tokens == drawn[1].tokens


def test_it_refuses_a_prompt_longer_than_the_context_unless_there_is_a_window(home: Home, board: Device) -> None:
    long = "never a sunny word and rain " * 8
    with pytest.raises(DeviceError, match="longer than the model's context") as refused:
        pipeline.generate(long, device=NAME, home=home)
    assert "--window" in str(refused.value.remedy)
    found = pipeline.generate(long, device=NAME, max_tokens=30, window=True, home=home)
    assert found.stopped in ("max_tokens", "end")
    assert found.prompt_tokens == CONTEXT // 2


def test_its_service_streams_to_this_host(home: Home, board: Device, built: Built, tmp_path: Path) -> None:
    told = pipeline.generate("a cat", device=NAME, max_tokens=12, home=home)
    with Service(home, NAME, tmp_path) as service, Client(service.url) as client:
        text = client.generate("a cat", max_tokens=12)
        pieces = list(text)
        assert len(pieces) > 1
        assert "".join(pieces) == told.text
        assert text.whole().tokens == told.tokens
        assert text.whole().release == built.digest
