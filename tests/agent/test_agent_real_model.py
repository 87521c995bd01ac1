"""A real model in its real runtime: converted here, run by the agent as it ships, from one file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_releases import LENGTHS, send_release
from running_agents import Running
from service_kit import Serving

from edgekit.agent import record, store
from edgekit.deliver.agent_file import build
from edgekit.spec import codec, wire
from edgekit.spec.manifest import GoldenCase
from edgekit.spec.result import Job, Run

pytestmark = [pytest.mark.torch, pytest.mark.slow]
pytest.importorskip("torch", reason="needs the 'host' extra")

WORDS = ["chess", "mail", "music", "kernel", "and", "a", "the", "plays", "reads", "sends"]
TEXTS = ["chess plays", "mail and music", "the kernel reads a mail " * 2, "music " * 12]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Its padding token is not number 0, and the file asks for padding of its own, as hub files do."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate([*WORDS, "[PAD]", "[UNK]"])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.enable_padding(pad_id=len(WORDS), pad_token="[PAD]", length=64)
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(file))
    return file.read_bytes()


@pytest.fixture(scope="module")
def models_by_format(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small module, once in each format: mean of embeddings over the mask, then a linear layer."""
    import litert_torch
    import torch

    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(len(WORDS) + 2, 16)
            self.head = torch.nn.Linear(16, 2)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            mask = attention_mask.float().unsqueeze(-1)
            return self.head((self.embedding(input_ids.long()) * mask).sum(1) / mask.sum(1))

    class Named(Small):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
            return {"logits": super().forward(input_ids, attention_mask)}

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("models")
    small = Small().eval()
    named = Named().eval()
    named.load_state_dict(small.state_dict())

    def inputs(length: int) -> dict[str, torch.Tensor]:
        ones = torch.ones(1, length, dtype=torch.int32)
        return {"input_ids": ones, "attention_mask": ones}

    converter = litert_torch
    for length in LENGTHS:
        converter = converter.signature(f"len{length}", named, sample_kwargs=inputs(length))
    converter.convert().export(str(folder / "model.tflite"))
    traced = torch.jit.freeze(torch.jit.trace(small, tuple(inputs(8).values())))
    traced._save_for_lite_interpreter(str(folder / "model.ptl"))
    return {name: (folder / f"model.{name}").read_bytes() for name in ("tflite", "ptl")}


@pytest.fixture
def agent(root: Path, tmp_path: Path) -> Iterator[Running]:
    with Running(root, program=[str(build(tmp_path))]) as running:
        running.hello()
        yield running


def deploy(agent: Running, request: wire.Stage) -> dict[str, object]:
    agent.done("stage", **codec.encode(request))
    agent.done("activate", release=request.release)
    health = agent.done("health", release=request.release)
    agent.done("confirm" if health["ok"] else "rollback", **({"release": request.release} if health["ok"] else {}))
    return health


@pytest.mark.parametrize("format", ["tflite", "ptl"])
def test_deploy_ask_and_measure(
    agent: Running, root: Path, tokenizer: bytes, models_by_format: dict[str, bytes], format: str
) -> None:
    samples = "".join(json.dumps({"text": text, "label": 0}) + "\n" for text in TEXTS).encode()
    parts = {"model": models_by_format[format], "tokenizer": tokenizer, "samples": samples, "format": format}
    probe = send_release(root, golden=[GoldenCase(text, 0) for text in TEXTS], **parts)  # type: ignore[arg-type]
    deploy(agent, probe)
    agent.done("stage", **codec.encode(probe))
    agent.done("activate", release=probe.release)
    answers = agent.done("predict", texts=TEXTS, top=2)["predictions"]
    assert [(one["tokens"], one["bucket"], one["truncated"]) for one in answers] == [
        (2, 8, False),
        (3, 8, False),
        (10, 16, False),
        (12, 16, False),
    ]
    for one in answers:
        assert sum(score["probability"] for score in one["scores"]) == pytest.approx(1.0)
        assert one["scores"][0]["label"] == ("no", "yes")[one["label"]]
    cut = agent.done("predict", texts=["chess " * 40], top=1)["predictions"][0]
    assert (cut["tokens"], cut["bucket"], cut["truncated"], len(cut["scores"])) == (16, 16, True, 1)

    labels = [one["label"] for one in answers]
    golden = [GoldenCase(text, label) for text, label in zip(TEXTS, labels, strict=True)]
    request = send_release(root, golden=golden, **parts)  # type: ignore[arg-type]
    assert deploy(agent, request) == {"ok": True, "cases": 4, "agreed": 4, "failure": ""}
    wrong = send_release(root, golden=[golden[0], GoldenCase(TEXTS[1], 1 - labels[1])], **parts)  # type: ignore[arg-type]
    health = deploy(agent, wrong)
    assert (health["ok"], health["agreed"]) == (False, 1)
    assert f"golden case 2 of 2: label {labels[1]} instead of label {1 - labels[1]}" in str(health["failure"])
    assert agent.done("status")["current"] == request.release

    found = record.manifest(root, request.release)
    for pad_to, padded in ((None, 8 + 8 + 16 + 16), (16, 64)):
        job = Job("optimized", found.optimized.name, pad_to, samples=4, warmup=2)
        asked = wire.Measure(job, found.optimized, found.samples, "", 2)
        run = codec.decode(Run, agent.done("measure", **codec.encode(asked)))
        assert run.failure is None
        assert run.measured is not None
        assert list(run.measured.labels) == labels
        assert (run.measured.padded_tokens, run.measured.real_tokens) == (padded, 2 + 3 + 10 + 12)
        assert len(run.measured.end_to_end) == len(run.measured.model_only) == 4
        pairs = zip(run.measured.end_to_end, run.measured.model_only, strict=True)
        assert all(whole > model > 0 for whole, model in pairs)
        assert run.measured.vm_hwm > run.measured.bare_rss > run.measured.bare_pss > 0


@pytest.mark.parametrize("format", ["tflite", "ptl"])
def test_a_damaged_model_is_not_healthy(
    agent: Running, root: Path, tokenizer: bytes, models_by_format: dict[str, bytes], format: str
) -> None:
    """Its hash is right, for it was damaged before it was bundled: the runtime itself must stumble."""
    model = bytearray(models_by_format[format])
    middle = slice(len(model) // 8, len(model) * 7 // 8)
    model[middle] = bytes(one ^ 0x5A for one in model[middle])
    request = send_release(root, model=bytes(model), tokenizer=tokenizer, format=format)
    health = deploy(agent, request)
    assert not health["ok"]
    assert str(health["failure"]).startswith("the runtime died: ")
    assert record.current(root) is None
    assert store.has(root, request.manifest)


def test_a_tokenizer_without_a_padding_token_pads_with_what_the_mask_hides(
    agent: Running, root: Path, tokenizer: bytes, models_by_format: dict[str, bytes]
) -> None:
    without = json.loads(tokenizer)
    without["padding"] = None
    del without["model"]["vocab"]["[PAD]"]
    data = json.dumps(without).encode()
    health = deploy(agent, send_release(root, model=models_by_format["tflite"], tokenizer=data))
    assert health["ok"], health["failure"]


def test_the_service_answers_as_the_agent_does(
    agent: Running, root: Path, tokenizer: bytes, models_by_format: dict[str, bytes]
) -> None:
    parts = {"model": models_by_format["tflite"], "tokenizer": tokenizer}
    deploy(agent, send_release(root, golden=[GoldenCase("chess plays", 0)], **parts))  # type: ignore[arg-type]
    if record.current(root) is None:
        deploy(agent, send_release(root, golden=[GoldenCase("chess plays", 1)], **parts))  # type: ignore[arg-type]
    texts = [*TEXTS, "chess " * 40]
    there = agent.done("predict", texts=texts, top=2)
    with Serving(root) as serving:
        status, answer = serving.ask(*texts, top=2)
        again = serving.ask(*texts, top=2)[1]
        serving.kill_runtime()
        assert serving.ask("music plays the kernel")[0] in (200, 503)
    assert status == 200
    assert (answer["release"], answer["artifact"]) == (there["release"], there["artifact"])
    for one, other, kept in zip(there["predictions"], answer["predictions"], again["predictions"], strict=True):
        assert {**one, "ms": 0} == {**other, "ms": 0} == kept
