"""A Keras model, or a SavedModel, as what a build starts from. tensorflow opens it in a process of its own
(:mod:`edgekit.models.keras_child`): it and torch do not share one well.

The folder it becomes holds the model as it was given, ``tokenizer.json`` and ``keras.json`` (:class:`Keras`).
"""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import errors
from edgekit.errors import BuildError, MissingExtra
from edgekit.models import keras_config
from edgekit.spec import codec
from edgekit.spec.recipe import ModelSpec

if TYPE_CHECKING:
    import numpy as np

FILE = "keras.json"
TOKENIZER = "tokenizer.json"
#: Whose versions decide what comes out.
PACKAGES = ("tensorflow", "tensorflow-cpu", "keras")
_SUFFIXES = (".keras", ".h5")
_CHILD = "edgekit.models.keras_child"


@dataclass(frozen=True)
class Keras:
    """What a model said of itself. ``model`` is its name in the folder, ``input_ids`` and ``attention_mask`` what it
    calls its inputs: without the second, tokens of number 0 are padding. ``length`` is the one length it takes, where
    it does not take any."""

    model: str
    input_ids: str
    labels: tuple[str, ...]
    parameters: int
    attention_mask: str | None = None
    length: int | None = None


def is_keras(folder: Path) -> bool:
    """Whether ``folder`` is one that :func:`adopt` wrote."""
    return (folder / FILE).is_file()


def read(folder: Path) -> Keras:
    """What stands in ``folder``'s keras.json."""
    return codec.loads(Keras, (folder / FILE).read_text("utf-8"))


def locate(spec: ModelSpec, base: Path) -> tuple[Path, Path]:
    """The model that ``spec`` names, and its tokenizer. Raises MissingExtra without tensorflow, BuildError where they
    are not there, or the model could run code."""
    assert spec.keras is not None
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingExtra("tensorflow", "tensorflow")
    model = base / Path(spec.keras).expanduser()
    if model.is_dir():
        if not (model / "saved_model.pb").is_file():
            raise BuildError("no SavedModel: saved_model.pb is not in it", where=str(model))
        if spec.sha256 is not None:
            raise BuildError("a SavedModel has no one file to pin", where="$.model.sha256", remedy="leave sha256 out")
    elif not model.is_file():
        raise BuildError("no such model", where=str(model), allowed="a .keras or .h5 file, or a SavedModel folder")
    elif model.suffix not in _SUFFIXES:
        raise BuildError(
            "no Keras file by its name", where=str(model), given=model.suffix or model.name, allowed=_SUFFIXES
        )
    elif model.suffix == ".keras":
        keras_config.check_file(model)
    beside = [one / TOKENIZER for one in ((model, model.parent) if model.is_dir() else (model.parent,))]
    found = next((one for one in beside if one.is_file()), None)
    if found is None:
        raise BuildError(
            "there is no tokenizer.json with this model",
            where=str(model),
            allowed=" or ".join(map(str, beside)),
            remedy="save the tokenizer it was trained with: tokenizer.save('tokenizer.json')",
        )
    return model, found


def adopt(spec: ModelSpec, model: Path, tokenizer: Path, labels: Sequence[str], out: Path) -> None:
    """Write the folder of a model that was located. Raises BuildError where it is no classifier of ``labels`` over
    token ids."""
    from edgekit.models.tokenizer import highest

    out.mkdir(parents=True, exist_ok=True)
    text = tokenizer.read_text("utf-8")
    token, number = highest(text, str(tokenizer))
    name = "saved_model" if model.is_dir() else "model" + model.suffix
    if model.is_dir():
        shutil.copytree(model, out / name, dirs_exist_ok=True)
    else:
        shutil.copyfile(model, out / name)
    (out / TOKENIZER).write_text(text, "utf-8")
    told = _asked(
        model,
        do="describe",
        model=str(out / name),
        input_ids=spec.input_ids,
        attention_mask=spec.attention_mask,
        token=token,
        number=number,
    )
    classes = told.pop("classes")
    if classes != len(labels):
        raise BuildError(
            "the model has another number of outputs than there are classes",
            where="$.data.labels",
            given=f"{len(labels)}: {', '.join(labels)}",
            allowed=f"{classes}, in the order of the outputs",
        )
    found = Keras(model=name, labels=tuple(labels), **told)
    (out / FILE).write_text(codec.dumps(found), "utf-8")


def export(folder: Path, lengths: Sequence[int], out: Path) -> dict[str, str]:
    """Write a float32 .tflite file with a signature ``len<length>`` each, int32 ``input_ids`` and ``attention_mask``
    [1, length] → ``logits`` [1, classes]. Gives the layers' names by the SHA-256 (hex) of their weights [out, in].

    Raises BuildError where tensorflow cannot convert it to TFLite's own operators.
    """
    told = _asked(folder, do="export", **_known(folder), lengths=list(lengths), out=str(out))
    return dict(told["names"])


def logits(folder: Path, inputs: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """What the model itself says, float32 [texts, classes]: of texts without their padding, where it takes any length.
    Raises BuildError where padding would change its answers."""
    import numpy as np

    written = io.BytesIO()
    named = {f"{name}_{number}": one[name] for number, one in enumerate(inputs) for name in one}
    np.savez(written, **named)  # type: ignore[arg-type]
    return _said(folder, len(inputs), written.getvalue())


# every scheme of a build is held against the same answers
@functools.lru_cache(maxsize=2)
def _said(folder: Path, texts: int, inputs: bytes) -> np.ndarray:
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        given, found = Path(scratch, "inputs.npz"), Path(scratch, "logits.npy")
        given.write_bytes(inputs)
        _asked(folder, do="logits", **_known(folder), texts=texts, inputs=str(given), out=str(found))
        answer: np.ndarray = np.load(found, allow_pickle=False)
    return answer


def _known(folder: Path) -> dict[str, Any]:
    one = read(folder)
    return {
        "model": str(folder / one.model),
        "input_ids": one.input_ids,
        "attention_mask": one.attention_mask,
        "length": one.length,
    }


def _asked(where: Path, **order: Any) -> dict[str, Any]:
    """What the child answers. Raises what it raised."""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        environment = {
            **os.environ,
            # results must not depend on a GPU's or oneDNN's order of sums
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_ENABLE_ONEDNN_OPTS": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "KERAS_BACKEND": "tensorflow",
            # nor on its user's settings; what it leaves when it is killed goes, too
            "KERAS_HOME": scratch,
            "TMPDIR": scratch,
        }
        asked, answered = Path(scratch, "order.json"), Path(scratch, "answer.json")
        asked.write_text(json.dumps(order))
        # -P: a file of the user's called keras.py is not taken for Keras
        command = [sys.executable, "-P", "-m", _CHILD, str(asked), str(answered)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment)
        if not answered.is_file():
            last = done.stderr.strip().splitlines()[-1:] or ["without a word"]
            raise BuildError(f"tensorflow ended without an answer: {last[0]}", where=str(where), given=done.returncode)
        answer: dict[str, Any] = json.loads(answered.read_text())
    if "error" in answer:
        told = dict(answer["error"])
        if str(told.get("where", "")).startswith(order["model"]):
            # its own copy of the model is no place that anybody knows
            del told["where"]
        raise errors.from_json(told, str(where))
    return answer
