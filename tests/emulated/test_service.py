"""The service on an emulated Raspberry Pi 4: a classifier asked from this host, its runtime killed in mid-answer.

The board has busybox's init and no systemd: the service is started as ``deploy --service`` says there. The unit itself
is held to ``systemd-analyze verify`` and to what ``systemctl`` is told by tests/agent/test_service_unit.py.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_kit import write
from served_kit import Service

from edgekit import pipeline
from edgekit.agent import engine, tasks
from edgekit.bundle import blob_file
from edgekit.cli.main import main
from edgekit.client import Client
from edgekit.errors import DeviceError, TransportError
from edgekit.home import Home
from edgekit.outcome import Built
from edgekit.spec.device import Device

pytestmark = [pytest.mark.emulated, pytest.mark.torch, pytest.mark.slow]
NAME = "rpi4-serves"
RECIPE = """\
name: serves
model: {path: bert}
data:
  source: jsonl
  files: [mine.jsonl]
  validation: 24
  test: 60
  lengths: [8, 16]
compress:
  - finetune: {epochs: 2, learning_rate: 5.0e-3, batch: 16}
convert:
  schemes: [w32_a32_float]
gates: {accuracy_drop: 60}
"""


@pytest.fixture(scope="module")
def built(home: Home, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return pipeline.build(write(tmp_path_factory.mktemp("recipe"), tiny_bert, RECIPE), home=home)


@pytest.fixture(scope="module")
def board(home: Home, built: Built) -> Iterator[Device]:
    yield pipeline.device_up("rpi4", name=NAME, clock="wall", home=home)
    pipeline.device_down(NAME, home=home)


@pytest.fixture(scope="module")
def service(home: Home, board: Device, built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    # without systemd it is refused before anything is sent
    with pytest.raises(DeviceError, match="there is no systemd"):
        pipeline.deploy(built.bundle, device=NAME, service=True, home=home)
    assert pipeline.status(device=NAME, home=home).releases == ()
    pipeline.deploy(built.bundle, device=NAME, home=home)
    with Service(home, NAME, tmp_path_factory.mktemp("service")) as running:
        yield running


def test_it_answers_this_host_as_the_model_does_here(
    service: Service, built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["sunny abc", "the cats", "a dog runs", "never rain"]
    artifact = built.manifest.optimized
    file, tokenizer = (str(blob_file(built.bundle, one)) for one in (artifact.blob, artifact.tokenizer))
    here = engine.load(tasks.Model("tflite", file, tokenizer, artifact.lengths))
    wanted = [here.answer(one)[1].label for one in texts]
    with Client(service.url) as client:
        answers = client.predict(texts)
        assert [one.label for one in answers.predictions] == wanted
        assert answers.release == built.digest
        with pytest.raises(DeviceError, match="not made to generate"):
            client.generate("a cat")
    assert main(["predict", *texts, "--url", service.url, "--json"]) == 0
    assert [one["label"] for one in json.loads(capsys.readouterr().out)["predictions"]] == wanted


def test_a_runtime_killed_in_mid_answer_is_told_and_replaced(service: Service) -> None:
    told: list[TransportError] = []

    def ask() -> None:
        with Client(service.url, patience=0.0) as client, pytest.raises(TransportError) as broken:
            client.predict(["a question in mid-answer"])
        told.append(broken.value)

    with Client(service.url) as client:
        before = client.health()
        # halted first, so that the question is on its way there when it is killed
        service.run(f"kill -STOP {before.runtime}")
        asking = threading.Thread(target=ask)
        asking.start()
        while client.health().misses == before.misses:
            assert asking.is_alive()
        service.run(f"kill -9 {before.runtime}")
        asking.join()
        assert "the runtime died: SIGKILL" in str(told[0])
        assert client.predict(["a cat"]).release == before.release
        after = client.health()
    assert (after.ok, after.restarts) == (True, before.restarts + 1)
    assert after.runtime != before.runtime
