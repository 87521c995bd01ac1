"""Releases made of small blobs, put into a device's store as a host would."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from edgekit.agent import store
from edgekit.spec import codec, wire
from edgekit.spec.manifest import Artifact, Blob, GoldenCase, Manifest, Signature

LENGTHS = (8, 16)


def put(root: Path, data: bytes) -> Blob:
    """Send and commit one blob."""
    blob = Blob(hashlib.sha256(data).hexdigest(), len(data))
    store.part_path(root, blob).write_bytes(data)
    store.commit(root, [blob])
    return blob


def artifact(
    model: Blob,
    tokenizer: Blob,
    format: str = "tflite",
    name: str = "tiny-tflite-w32_a32_float",
    dynamic: bool = False,
    tags: tuple[str, ...] = (),
) -> Artifact:
    signatures = tuple(Signature(f"len{one}", one, (), ()) for one in LENGTHS)
    return Artifact(  # type: ignore[arg-type]
        name,
        "optimized",
        format,
        "w32_a32_float",
        model,
        tokenizer,
        signatures,
        dynamic=dynamic,
        tags=tags,
        task="tokens" if tags else "classify",
    )


def send_release(
    root: Path,
    *,
    model: bytes = b"model",
    tokenizer: bytes = b"tokenizer",
    golden: Iterable[GoldenCase] = (GoldenCase("a text", 0),),
    samples: bytes = b'{"text":"a text","label":0}\n',
    runtime: str = "",
    format: str = "tflite",
    labels: tuple[str, ...] = ("no", "yes"),
    dynamic: bool = False,
    tags: tuple[str, ...] = (),
) -> wire.Stage:
    """Put all blobs of a release into the store; what ``stage`` then needs."""
    lines = "".join(codec.dumps(one) + "\n" for one in golden).encode()
    blobs = [put(root, one) for one in (model, tokenizer, lines, samples)]
    manifest = Manifest(
        name="tiny",
        task="text-classification",
        recipe_digest="0" * 64,
        data_digest="1" * 64,
        seed=1,
        labels=labels,
        artifacts=(artifact(blobs[0], blobs[1], format, dynamic=dynamic, tags=tags),),
        golden=blobs[2],
        samples=blobs[3],
    )
    blob = put(root, codec.dumps(manifest).encode())
    return wire.Stage(blob.sha256, blob, tuple(blobs), runtime)


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Run ``work`` in a forked process that dies before its ``step``-th change to the file system.

    Answers whether it died; False means that ``work`` was done before. Python's audit events name each change just
    before it happens, so no hook in the code under test is needed.
    """
    changes = {"os.rename", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.truncate"}
    pid = os.fork()
    if pid == 0:
        seen = 0

        def count(event: str, parts: tuple[object, ...]) -> None:
            nonlocal seen
            writing = event == "open" and isinstance(parts[2], int) and parts[2] & (os.O_WRONLY | os.O_RDWR)
            if event in changes or writing:
                if seen == step:
                    os._exit(9)
                seen += 1

        sys.addaudithook(count)
        try:
            work()
        except BaseException:  # noqa: BLE001 - the parent must hear of it
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9), "the work itself failed"
    return code == 9
