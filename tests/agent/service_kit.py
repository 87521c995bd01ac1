"""A service as a process of its own, over a release whose runtime is a made one: what it answers is told by the text
and by the model's bytes, and some words make it slow, wrong or dead."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from made_releases import send_release
from running_agents import PACKAGE

from edgekit.agent import release, store
from edgekit.client import connect
from edgekit.spec import codec
from edgekit.spec.service import Answering

OLD_MODEL, NEW_MODEL = b"\x00old", b"\x01new"
LABELS = ("no", "yes", "<b>maybe</b> & more")
WORDS = ("chess", "mail", "music", "kernel", "and", "a", "the", "plays", "reads", "sends", "slow", "die", "nan")
#: The answer is the sum of the tokens, shifted by the model's first byte.
INTERPRETER = f"""\
import os, signal, time
import numpy

SLOW, DIE, NAN = {[WORDS.index(one) for one in ("slow", "die", "nan")]}


class Interpreter:
    def __init__(self, model_path, num_threads):
        with open(model_path, "rb") as file:
            model = file.read()
        if model.startswith(b"broken"):
            raise ValueError("damaged")
        self.shift = model[0]

    def allocate_tensors(self):
        pass

    def get_signature_runner(self, name):
        def run(input_ids, attention_mask):
            ids = (input_ids[0] + 0)[attention_mask[0] == 1].tolist()
            if DIE in ids:
                os.kill(os.getpid(), signal.SIGKILL)
            if SLOW in ids:
                time.sleep(0.01)
            logits = numpy.zeros((1, {len(LABELS)}), numpy.float32)
            logits[0, (sum(ids) + self.shift) % {len(LABELS)}] = float("nan") if NAN in ids else 2.0
            return {{"logits": logits}}

        return run
"""


def tokenizer() -> bytes:
    """A word is a token, told by its place in WORDS; any other is an unknown one."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate([*WORDS, "[PAD]", "[UNK]"])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made.to_str().encode()


def label_of(text: str, model: bytes) -> int:
    """What the made runtime answers."""
    ids = [WORDS.index(word) if word in WORDS else len(WORDS) + 1 for word in text.split()]
    return (sum(ids[:16]) + model[0]) % len(LABELS)


def stage(root: Path, model: bytes) -> str:
    """A release with this model, whole but not current; its digest."""
    folder = root / "runtimes/made"
    if not folder.exists():
        (folder / "ai_edge_litert").mkdir(parents=True)
        (folder / "ai_edge_litert/__init__.py").write_text("")
        (folder / "ai_edge_litert/interpreter.py").write_text(INTERPRETER)
        (folder / store.RUNTIME_FILE).write_text(codec.dumps(store.Runtime((), 0)))
    request = send_release(root, model=model, tokenizer=tokenizer(), runtime="made", labels=LABELS)
    release.stage(root, request)
    return request.release


def deploy(root: Path, model: bytes) -> str:
    """A release with this model, current and confirmed."""
    name = stage(root, model)
    release.activate(root, name)
    release.confirm(root, name)
    return name


class Serving:
    """A running service, asked over its Unix socket."""

    def __init__(self, root: Path, *flags: str, environment: dict[str, str] | None = None) -> None:
        self.socket = root / "service.sock"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgekit.agent", "--root", str(root), "serve", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,  # what readline leaves is there for communicate
            env={**os.environ, "PYTHONPATH": str(PACKAGE), **(environment or {})},
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().decode()
        if "answers" not in self.said:
            self.said += self.process.communicate(timeout=60)[0].decode()

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(60.0)
        made.connect(str(self.socket))
        return made

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPResponse]:
        connection = connect(f"unix:{self.socket}", 60.0)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, data, response

    def ask(self, *texts: str, top: int = 3) -> tuple[int, dict[str, Any]]:
        status, body, _ = self.request("POST", "/predict", json.dumps({"texts": texts, "top": top}).encode())
        return status, json.loads(body)

    def health(self) -> Answering:
        return codec.loads(Answering, self.request("GET", "/health")[1])

    def metric(self, name: str) -> float:
        lines = self.request("GET", "/metrics")[1].decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.split()[0] == name)

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def children(self) -> int:
        """The runtime, and a spare one."""
        found = 0
        for one in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                found += int(one.read_text().rpartition(")")[2].split()[1]) == self.process.pid
        return found

    def kill_runtime(self) -> None:
        os.kill(self.health().runtime, signal.SIGKILL)

    def end(self) -> int:
        """SIGTERM; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=60)
        return self.process.returncode

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def until(true: Any, seconds: float = 60.0) -> None:
    """Wait until ``true()`` is."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def refused(root: Path, *flags: str) -> tuple[int, str]:
    """What a service that does not start says; its exit code."""
    serving = Serving(root, *flags)
    return serving.end(), serving.said


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
