"""``python -m edgekit.models.keras_child ORDER ANSWER``: the process that tensorflow runs in, see
:mod:`edgekit.models.keras`. Both are JSON files; an answer is a mapping, or ``{"error": …}``.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert import ConverterError
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edgekit.errors import BuildError, EdgekitError
from edgekit.models import keras_config, keras_graph

IDS, MASK = "input_ids", "attention_mask"
#: Tokens that a model of any length is tried with.
TRIED = 8
#: What padding may change in a logit, as a share of the greatest one: sums of other lengths round differently.
_STEADY = 1e-3
#: What tensorflow raises of a model that it cannot do what it is asked with.
_FAILURES = (
    *(ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError, OSError),
    *(tf.errors.OpError, ConverterError),
)

Call = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Input:
    """``length`` is ``None`` where it takes any."""

    name: str
    dtype: Any
    rank: int | None
    length: int | None


@dataclass(frozen=True)
class Model:
    """An opened model: ``call`` takes its inputs by their names; ``weights`` are its own by name, read to be found
    again in the file."""

    inputs: tuple[Input, ...]
    call: Call
    weights: dict[str, Any]


def main(order_file: str, answer_file: str) -> None:
    order = json.loads(Path(order_file).read_text())
    try:
        answer = _DOES[order.pop("do")](**order)
    except EdgekitError as error:
        answer = {"error": error.to_json()}
    Path(answer_file).write_text(json.dumps(answer))


def opened(file: Path) -> Model:
    """Raises BuildError where the model could run code, or tensorflow cannot read it."""
    try:
        return _saved_model(file) if file.is_dir() else _keras_file(file)
    except _FAILURES as error:
        raise BuildError(
            f"tensorflow cannot open this model: {_first(error)}",
            where=str(file),
            remedy="save it in Keras's own format: model.save('….keras')" if file.suffix == ".h5" else None,
        ) from error


def _keras_file(file: Path) -> Model:
    import keras

    if file.suffix == ".h5":
        _check_h5(file)
    else:
        keras_config.check_file(file)
    model = keras.saving.load_model(file, compile=False, safe_mode=True)
    inputs = tuple(_input(one.name, one.dtype, one.shape) for one in model.inputs)

    def call(given: dict[str, Any]) -> Any:
        ordered = [given[one.name] for one in inputs]
        return model(keras.tree.pack_sequence_as(model.input, ordered), training=False)

    return Model(inputs, call, {one.path: one.numpy() for one in model.weights})


def _check_h5(file: Path) -> None:
    import h5py

    with h5py.File(file, "r") as content:
        config = content.attrs.get("model_config")
    if config is None:
        raise BuildError("this file holds weights and no model", where=str(file), remedy="save it whole: model.save(…)")
    keras_config.check(json.loads(config), str(file))


def _saved_model(folder: Path) -> Model:
    keras_graph.check(folder)
    loaded = tf.saved_model.load(str(folder))
    names = sorted(one for one in loaded.signatures if not one.startswith("__"))
    chosen = "serving_default" if "serving_default" in names else names[0] if len(names) == 1 else None
    if chosen is None:
        raise BuildError(
            "this SavedModel has no one way to ask it",
            where=str(folder),
            given=", ".join(names) or "no signature",
            allowed="a signature serving_default, or one only",
        )
    function = loaded.signatures[chosen]
    asked = function.structured_input_signature[1]
    inputs = tuple(_input(name, one.dtype.name, one.shape) for name, one in sorted(asked.items()))

    def call(given: dict[str, Any]) -> Any:
        answers = list(function(**given).values())
        return answers[0] if len(answers) == 1 else answers

    # the function holds its variables, and the model owns them
    call.owner = loaded  # type: ignore[attr-defined]
    return Model(inputs, call, {one.name: one.numpy() for one in function.variables})


def _input(name: str, dtype: Any, shape: Any) -> Input:
    if getattr(shape, "rank", 0) is None:
        return Input(name, tf.as_dtype(dtype), None, None)
    sizes = list(shape)
    return Input(name, tf.as_dtype(dtype), len(sizes), sizes[1] if len(sizes) > 1 else None)


def match(names: Sequence[str], ids: str | None, mask: str | None, where: str) -> tuple[str, str | None]:
    """Which inputs are the ids and the mask: as the recipe says, else by their own names, else the one with ``mask``
    in its name is the mask; a single one takes the ids. Raises BuildError where that leaves a doubt."""
    for asked, told in ((ids, IDS), (mask, MASK)):
        if asked is not None and asked not in names:
            raise BuildError("the model has no such input", where=f"$.model.{told}", given=asked, allowed=sorted(names))
    mask = mask or next((one for one in names if one == MASK and one != ids), None)
    masks = [one for one in names if "mask" in one.lower() and one != ids]
    if mask is None and len(masks) == 1 and len(names) == 2:
        mask = masks[0]
    rest = [one for one in names if one != mask]
    ids = ids or (rest[0] if len(rest) == 1 else None)
    if ids is None or ids == mask or len(rest) != 1:
        raise BuildError(
            "it is not clear what this model's inputs are: it should take token ids and, if it likes, their mask",
            where=where,
            given=", ".join(sorted(names)) or "no inputs",
            allowed="input_ids and attention_mask",
            remedy="say which is which (model: {keras: …, input_ids: NAME, attention_mask: NAME}), or export the model"
            " with these two inputs alone",
        )
    return ids, mask


class Asking:
    """The model as edgekit asks it: int32 ids and mask [1, length] → logits float32 [1, classes]."""

    def __init__(self, model: Model, ids: str, mask: str | None) -> None:
        self.model, self.ids, self.mask = model, ids, mask
        self.types = {one.name: one.dtype for one in model.inputs}

    def __call__(self, input_ids: Any, attention_mask: Any) -> Any:
        """What the model answers: logits or probabilities."""
        # of a model without a mask, padding is the token 0; the mask has to be used, or the file would not take it
        given = {self.ids: tf.cast(input_ids if self.mask else input_ids * attention_mask, self.types[self.ids])}
        if self.mask is not None:
            given[self.mask] = tf.cast(attention_mask, self.types[self.mask])
        found = self.model.call(given)
        if not tf.is_tensor(found):
            raise BuildError("a classifier has one output", given=f"{len(found)} outputs", allowed="logits")
        return found

    def frozen(self, length: int | None) -> Any:
        """A concrete function for texts of ``length`` tokens, its weights constants."""
        traced = tf.function(self.__call__, autograph=False).get_concrete_function(**_asked(length))
        return convert_variables_to_constants_v2(traced, lower_control_flow=False)

    def logits(self, length: int | None) -> Call:
        """The same, without the softmax that it may end in."""
        frozen = self.frozen(length)
        last = _last(frozen)
        fetched = last.inputs[0] if last.type == "Softmax" else frozen.outputs[0]
        feeds = {one.name.split(":")[0]: one for one in frozen.inputs}
        pruned = frozen.prune([feeds[IDS], feeds[MASK]], fetched)
        return lambda given: pruned(given[IDS], given[MASK])


def _asked(length: int | None) -> dict[str, Any]:
    return {name: tf.TensorSpec([1, length], tf.int32, name) for name in (IDS, MASK)}


def describe(model: str, input_ids: str | None, attention_mask: str | None, token: str, number: int) -> dict[str, Any]:
    """What the model is. Raises BuildError where it is no classifier over token ids, or has no embedding of the
    tokenizer's last token."""
    found = opened(Path(model))
    ids, mask = match([one.name for one in found.inputs], input_ids, attention_mask, model)
    chosen = [one for one in found.inputs if one.name in (ids, mask)]
    wrong = next((one for one in chosen if one.rank != 2), None)
    if wrong is not None:
        raise BuildError(
            "token ids and their mask have a text a row: [batch, length]",
            where=model,
            given=f"{wrong.name}: {wrong.rank} dimensions",
        )
    length = next((one.length for one in chosen if one.length is not None), None)
    asking = Asking(found, ids, mask)
    ones: np.ndarray = np.ones((1, length or TRIED), np.int32)
    try:
        frozen = asking.frozen(length or TRIED)
        asking(tf.constant(ones), tf.constant(ones))
    except _FAILURES as error:
        raise BuildError(f"the model cannot be asked: {_first(error)}", where=model) from error
    try:
        answer = asking(tf.constant(ones * max(number, 0)), tf.constant(ones))
    except _FAILURES as error:
        raise BuildError(
            "the tokenizer has a token that the model has no embedding of",
            where=model,
            given=f"{token!r}, number {number}",
            remedy="take the tokenizer that the model was trained with",
        ) from error
    shape = tuple(answer.shape)
    last = _last(frozen).type
    if len(shape) != 2 or shape[1] < 2 or last == "Sigmoid" or not answer.dtype.is_floating:
        raise BuildError(
            "the model is no classifier of texts",
            where=model,
            given=f"its output is {answer.dtype.name} {list(shape)}" + (", of a sigmoid" if last == "Sigmoid" else ""),
            allowed="one logit, or one probability of a softmax, for each of two classes or more",
        )
    return {
        "classes": shape[1],
        "input_ids": ids,
        "attention_mask": mask,
        "length": length,
        "parameters": sum(int(one.size) for one in found.weights.values()),
    }


def export(
    model: str,
    input_ids: str,
    attention_mask: str | None,
    length: int | None,
    lengths: list[int],
    out: str,
) -> dict[str, Any]:
    """Write the float file; see :func:`edgekit.models.keras.export`."""
    found = opened(Path(model))
    asking = Asking(found, input_ids, attention_mask)
    try:
        signatures = {f"len{one}": _signature(asking.logits(one), one) for one in lengths}
        with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
            tf.saved_model.save(tf.Module(), scratch, signatures=signatures)
            converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=sorted(signatures))
            # no delegate to tensorflow itself, nor operations of anybody else: the board has neither
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            converter.allow_custom_ops = False
            Path(out).write_bytes(converter.convert())
    except _FAILURES as error:
        raise BuildError(f"tensorflow cannot convert this model: {_first(error)}", where="tflite") from error
    return {"names": _names(found.weights)}


def logits(
    model: str,
    input_ids: str,
    attention_mask: str | None,
    length: int | None,
    texts: int,
    inputs: str,
    out: str,
) -> dict[str, Any]:
    """What the model says; see :func:`edgekit.models.keras.logits`."""
    run = Asking(opened(Path(model)), input_ids, attention_mask).logits(length)
    arrays = np.load(inputs, allow_pickle=False)
    rows = []
    try:
        for number in range(texts):
            given = {name: arrays[f"{name}_{number}"] for name in (IDS, MASK)}
            whole = run({name: tf.constant(one) for name, one in given.items()}).numpy()
            if length is not None:
                rows.append(whole)
                continue
            real = int(given[MASK].sum())
            bare = run({name: tf.constant(one[:, :real]) for name, one in given.items()}).numpy()
            _hold_steady(bare, whole, given[MASK].shape[1] - real, model)
            rows.append(bare)
    except _FAILURES as error:
        raise BuildError(f"the model does not run: {_first(error)}", where=model) from error
    np.save(out, np.concatenate(rows).astype(np.float32), allow_pickle=False)
    return {}


def _hold_steady(bare: np.ndarray, padded: np.ndarray, padding: int, model: str) -> None:
    apart = float(np.abs(bare - padded).max() / max(float(np.abs(bare).max()), 1.0))
    if not apart <= _STEADY:  # no number is not steady either
        raise BuildError(
            "the model's answers change with the padding behind a text",
            where=model,
            given=f"by {100 * apart:.2g} % with {padding} tokens of padding",
            allowed=f"up to {100 * _STEADY:g} %",
            remedy="let its layers heed the mask (Embedding(mask_zero=True), attention_mask), or fix its length:"
            " keras.Input((64,))",
        )


def _signature(run: Call, length: int) -> Any:
    def signature(input_ids: Any, attention_mask: Any) -> dict[str, Any]:
        return {"logits": run({IDS: input_ids, MASK: attention_mask})}

    return tf.function(signature, autograph=False).get_concrete_function(**_asked(length))


def _last(frozen: Any) -> Any:
    """The operation that the answer comes from."""
    node = frozen.outputs[0].op
    while node.type == "Identity":
        node = node.inputs[0].op
    return node


def _names(weights: dict[str, Any]) -> dict[str, str]:
    """Every layer by the digest of its weights, as a matrix product [out, in] of the file has them: a kernel of more
    dimensions is [in, heads, size] or [heads, size, out], split at any place."""
    found: dict[str, str] = {}
    for path, kernel in sorted(weights.items()):
        if kernel.ndim < 2 or not np.issubdtype(kernel.dtype, np.floating):
            continue
        name = re.sub(r":\d+$", "", path).rpartition("/")[0].replace("/", ".") or path
        for place in range(1, kernel.ndim):
            entering = int(np.prod(kernel.shape[:place]))
            matrix = np.ascontiguousarray(kernel.reshape(entering, -1).T.astype(np.float32))
            found.setdefault(hashlib.sha256(matrix.tobytes()).hexdigest(), name)
    return found


def _first(error: BaseException) -> str:
    """The line of tensorflow's long errors that says something."""
    lines = [one.strip() for one in str(error).splitlines() if one.strip()]
    unable = [one for one in lines if "custom op" in one.lower() or one.startswith("Flex ops:")]
    return (unable or lines or [type(error).__name__])[0][:300]


_DOES: dict[str, Callable[..., dict[str, Any]]] = {"describe": describe, "export": export, "logits": logits}

if __name__ == "__main__":
    main(*sys.argv[1:])
