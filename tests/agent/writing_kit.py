"""A release that writes: its made runtime says the word after the last one it read, with ``slow`` and ``die`` among
them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from made_releases import put, send_release
from service_kit import Serving, tokenizer

from edgekit.agent import record, release, store
from edgekit.spec import codec, wire
from edgekit.spec.manifest import GoldenCase, Manifest, Signature, Tensor

#: As the tokenizer numbers them; each word is followed by the next, and the last by the first.
CIRCLE = ("chess", "mail", "music", "kernel", "and", "a", "the", "plays", "reads", "sends")
SLOW, DIE = 10, 11
#: Ten seconds of slow tokens: what is done to a text in the middle is done before its end.
CONTEXT = 512
#: A text with ``slow`` in it takes 20 ms a token, one with ``die`` kills the process when it is read.
INTERPRETER = f"""\
import os, signal, time
import numpy

# it has no layers: there are no keys and values to keep
NONE = numpy.zeros((0, 8, 1), "float32")
SIZES = {{"input_ids": (1, 1), "seen": (1, {CONTEXT}), "places": (1,)}}


class Interpreter:
    def __init__(self, model_path, num_threads):
        with open(model_path, "rb") as file:
            self.step = 1 + file.read()[0]
        self.slow = False

    def allocate_tensors(self):
        self.inputs = [numpy.zeros(one, "float32" if name == "seen" else "int32") for name, one in SIZES.items()]

    def get_signature_list(self):
        return {{"decode": None, "prefill8": None, "len8": None, "len16": None}}

    def get_signature_runner(self, name):
        return Runner(self, name)

    def tensor(self, index):
        return lambda: self.inputs[index]

    def invoke(self):
        self.logits = self.read([int(self.inputs[0][0, 0])])

    def get_tensor(self, index):
        return self.logits if index == 3 else NONE

    def read(self, ids):
        if not self.inputs[1].any():
            self.slow = False
        self.slow = self.slow or {SLOW} in ids
        if {DIE} in ids:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.slow:
            time.sleep(0.02)
        logits = numpy.zeros((1, 15), numpy.float32)
        last = [one for one in ids if one < {len(CIRCLE)}] or [{len(CIRCLE) - 1}]
        logits[0, (last[-1] + self.step) % {len(CIRCLE)}] = 2.0
        return logits


class Runner:
    def __init__(self, interpreter, name):
        self.interpreter, self.name = interpreter, name

    def get_input_details(self):
        return {{name: {{"index": number}} for number, name in enumerate(SIZES)}}

    def get_output_details(self):
        return {{"logits": {{"index": 3}}, "new_keys": {{"index": 4}}, "new_values": {{"index": 5}}}}

    def __call__(self, input_ids, attention_mask, **others):
        logits = self.interpreter.read(input_ids[0][attention_mask[0] == 1].tolist())
        if self.name.startswith("prefill"):
            return {{"logits": logits, "new_keys": NONE, "new_values": NONE}}
        return {{"logits": numpy.repeat(logits[None], input_ids.shape[1], 1)}}
"""


def _install(root: Path) -> None:
    """The made runtime."""
    folder = root / "runtimes/writing"
    if not folder.exists():
        (folder / "ai_edge_litert").mkdir(parents=True)
        (folder / "ai_edge_litert/__init__.py").write_text("")
        (folder / "ai_edge_litert/interpreter.py").write_text(INTERPRETER)
        (folder / store.RUNTIME_FILE).write_text(codec.dumps(store.Runtime((), 0)))


def stage(root: Path, step: int = 1) -> str:
    """A release whose every word is followed by the one ``step`` places on; its digest."""
    _install(root)
    made = send_release(
        root,
        model=bytes([step - 1]) + b"language",
        tokenizer=tokenizer(),
        golden=[GoldenCase("chess mail", 2)],
        runtime="writing",
        labels=(),
    )
    manifest = codec.loads(Manifest, store.need(root, made.manifest, "manifest").read_bytes())
    artifact = manifest.optimized
    decode = Signature("decode", CONTEXT, (), (), "decode")
    writing = dataclasses.replace(artifact, signatures=(*artifact.signatures, decode), task="language")
    text = codec.dumps(dataclasses.replace(manifest, task="language", artifacts=(writing,)))
    blob = put(root, text.encode())
    release.stage(root, wire.Stage(blob.sha256, blob, made.blobs, made.runtime))
    return blob.sha256


def stage_following(root: Path) -> str:
    """A release of the same words that follows streams: it says which word comes next by what it has read."""
    _install(root)
    made = send_release(
        root,
        model=b"\x00follows",
        tokenizer=tokenizer(),
        golden=[GoldenCase("chess mail", 2)],
        runtime="writing",
        labels=tuple(f"after {one}" for one in range(15)),
    )
    manifest = codec.loads(Manifest, store.need(root, made.manifest, "manifest").read_bytes())
    artifact = manifest.optimized
    logits = Tensor("logits", (1, 15), "float32")
    scoring = tuple(dataclasses.replace(one, outputs=(logits,)) for one in artifact.signatures)
    decode = Signature("decode", CONTEXT, (), (logits,), "decode")
    following = dataclasses.replace(artifact, signatures=(*scoring, decode))
    blob = put(root, codec.dumps(dataclasses.replace(manifest, artifacts=(following,))).encode())
    release.stage(root, wire.Stage(blob.sha256, blob, made.blobs, made.runtime))
    return blob.sha256


def confirm(root: Path, name: str) -> str:
    """The staged release as the current one."""
    release.activate(root, name)
    release.confirm(root, name)
    assert record.current(root) == name
    return name


def deploy(root: Path, step: int = 1) -> str:
    return confirm(root, stage(root, step))


def follow(prompt: str, count: int, step: int = 1) -> list[str]:
    """The words that go on with a prompt."""
    last = CIRCLE.index([one for one in prompt.split() if one in CIRCLE][-1])
    return [CIRCLE[(last + step * number) % len(CIRCLE)] for number in range(1, count + 1)]


def events(lines: Iterator[bytes]) -> Iterator[tuple[str, Any]]:
    """Name and data of each server-sent event."""
    import json

    name = ""
    for line in lines:
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            name = text[7:]
        elif text.startswith("data: "):
            yield name, json.loads(text[6:])


__all__ = ["CIRCLE", "CONTEXT", "Serving", "confirm", "deploy", "events", "follow", "stage"]
