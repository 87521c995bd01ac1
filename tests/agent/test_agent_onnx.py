"""ONNX Runtime on the device: a text at its own length, from one file, by the agent as it ships."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_releases import send_release
from running_agents import Running

onnx = pytest.importorskip("onnx", reason="needs the 'onnx' extra")
pytest.importorskip("onnxruntime", reason="needs the 'onnx' extra")
pytest.importorskip("tokenizers")

import numpy as np  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgekit.agent import record  # noqa: E402
from edgekit.spec import codec, wire  # noqa: E402
from edgekit.spec.manifest import GoldenCase  # noqa: E402
from edgekit.spec.result import Job, Run  # noqa: E402

WORDS = ["chess", "mail", "music", "kernel", "and", "a", "the", "plays", "reads", "sends"]
TEXTS = ["chess plays", "mail", "the kernel reads a mail " * 2, "music " * 12]


@pytest.fixture(scope="module")
def tokenizer() -> bytes:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate([*WORDS, "[PAD]", "[UNK]"])}, "[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made.to_str().encode()


@pytest.fixture(scope="module")
def model() -> bytes:
    """The mean of the embeddings that the mask shows, then a product."""
    draw = np.random.default_rng(1)
    values = {
        "table": draw.normal(size=(len(WORDS) + 2, 8)).astype(np.float32),
        "weight": draw.normal(size=(8, 2)).astype(np.float32),
        "tokens": np.array([1], np.int64),
        "last": np.array([-1], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["rows"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["shown"]),
        node("Mul", ["rows", "shown"], ["kept"]),
        node("ReduceSum", ["kept", "tokens"], ["sum"], keepdims=0),
        node("ReduceSum", ["shown", "tokens"], ["count"], keepdims=0),
        node("Div", ["sum", "count"], ["mean"]),
        node("MatMul", ["mean", "weight"], ["logits"]),
    ]
    ids = [helper.make_tensor_value_info(name, TensorProto.INT32, [1, "n"]) for name in ("input_ids", "attention_mask")]
    logits = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])]
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "small", ids, logits, constants)
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()
    return made


@pytest.fixture
def agent(root: Path) -> Iterator[Running]:
    with Running(root) as running:
        running.hello()
        yield running


def healthy(agent: Running, request: wire.Stage) -> dict[str, object]:
    agent.done("stage", **codec.encode(request))
    agent.done("activate", release=request.release)
    health = agent.done("health", release=request.release)
    agent.done("confirm" if health["ok"] else "rollback", **({"release": request.release} if health["ok"] else {}))
    return health


def test_texts_run_at_their_own_lengths_and_padded_ones_answer_the_same(
    agent: Running, root: Path, tokenizer: bytes, model: bytes
) -> None:
    samples = "".join(json.dumps({"text": text, "label": 0}) + "\n" for text in TEXTS).encode()
    request = send_release(root, model=model, tokenizer=tokenizer, samples=samples, format="onnx", dynamic=True)
    agent.done("stage", **codec.encode(request))
    agent.done("activate", release=request.release)
    answers = agent.done("predict", texts=TEXTS, top=2)["predictions"]
    assert [(one["tokens"], one["bucket"]) for one in answers] == [(2, 2), (1, 1), (10, 10), (12, 12)]
    labels = [one["label"] for one in answers]

    found = record.manifest(root, request.release)
    told = []
    for pad_to, padded in ((None, 2 + 1 + 10 + 12), (16, 64)):
        job = Job("optimized", found.optimized.name, pad_to, samples=4, warmup=2)
        asked = wire.Measure(job, found.optimized, found.samples, "", 2)
        run = codec.decode(Run, agent.done("measure", **codec.encode(asked)))
        assert run.failure is None
        assert run.measured is not None
        assert (run.measured.padded_tokens, run.measured.real_tokens) == (padded, 2 + 1 + 10 + 12)
        told.append(list(run.measured.labels))
    assert told == [labels, labels]


def test_golden_cases_are_held(agent: Running, root: Path, tokenizer: bytes, model: bytes) -> None:
    first = send_release(root, model=model, tokenizer=tokenizer, format="onnx", dynamic=True)
    agent.done("stage", **codec.encode(first))
    agent.done("activate", release=first.release)
    labels = [one["label"] for one in agent.done("predict", texts=TEXTS, top=1)["predictions"]]
    agent.done("confirm", release=first.release)
    golden = [GoldenCase(text, label) for text, label in zip(TEXTS, labels, strict=True)]
    parts = {"model": model, "tokenizer": tokenizer, "format": "onnx", "dynamic": True}
    good = send_release(root, golden=golden, **parts)  # type: ignore[arg-type]
    assert healthy(agent, good) == {"ok": True, "cases": 4, "agreed": 4, "failure": ""}
    wrong = [dataclasses.replace(one, label=1 - one.label) for one in golden]
    assert healthy(agent, send_release(root, golden=wrong, **parts))["agreed"] == 0  # type: ignore[arg-type]
    assert agent.done("status")["current"] == good.release


def test_a_damaged_file_is_not_healthy_and_says_why(agent: Running, root: Path, tokenizer: bytes, model: bytes) -> None:
    for bad in (b"no model", model[: len(model) // 2], model.replace(b"MatMul", b"MatMol")):
        health = healthy(agent, send_release(root, model=bad, tokenizer=tokenizer, format="onnx", dynamic=True))
        assert not health["ok"]
        assert "ONNX Runtime cannot load this file: " in str(health["failure"])
    assert record.current(root) is None
