"""Keras models and SavedModels: which are taken, which are refused before they could run, and what they are asked."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import BuildError, MissingExtra
from edgekit.models import keras, keras_config
from edgekit.spec.recipe import ModelSpec

#: Asks all models in one process: tensorflow takes seconds to import.
SCRIPT = """
import json, sys
from edgekit.errors import EdgekitError
from edgekit.models import keras_child
from pathlib import Path
folder, token, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
told = {}
for name, ids, mask in json.loads(sys.argv[4]):
    try:
        told[f"{name} {ids}"] = keras_child.describe(f"{folder}/{name}", ids, mask, token, number)
    except EdgekitError as error:
        told[f"{name} {ids}"] = error.to_json()
try:
    keras_child.export(f"{folder}/unwritable", "input_ids", "attention_mask", None, [8], "/dev/null")
except EdgekitError as error:
    told["export"] = error.to_json()
print("ANSWER" + json.dumps(told))
"""
ASKED = [
    *((one, None, None) for one in ("former.keras", "saved", "bag.keras", "fixed.h5", "fixed.keras")),
    *((one, None, None) for one in ("nameless.keras", "few.keras", "sigmoid.keras", "lambda.h5", "python", "reading")),
    *((("nameless.keras", "a", "b"), ("former.keras", "tokens", None), ("unwritable", None, None))),
]


@pytest.fixture(scope="session")
def told(keras_models: Path) -> dict[str, Any]:
    """What each model said of itself, or what was said of it."""
    from edgekit.models.tokenizer import highest

    token, number = highest((keras_models / "tokenizer.json").read_text(), "")
    command = [sys.executable, "-c", SCRIPT, str(keras_models), token, str(number), json.dumps(ASKED)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.partition("ANSWER")[2])
    return found


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "ids", "mask", "length"),
    [
        ("former.keras None", "input_ids", "attention_mask", None),
        ("saved None", "input_ids", "attention_mask", None),
        ("bag.keras None", "words", None, None),
        ("fixed.h5 None", "input_ids", None, 16),
        ("fixed.keras None", "input_ids", None, 16),
        ("nameless.keras a", "a", "b", None),
    ],
)
def test_a_classifier_says_what_it_takes(
    told: dict[str, Any], asked: str, ids: str, mask: str | None, length: int | None
) -> None:
    found = told[asked]
    assert (found["input_ids"], found["attention_mask"], found["length"]) == (ids, mask, length), found
    assert found["classes"] == 3
    assert found["parameters"] > 1000


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "message", "given"),
    [
        ("lambda.h5 None", "runs code of its own, in a Lambda", "doubled"),
        ("python None", "may do more than compute", "EagerPyFunc"),
        ("reading None", "may do more than compute", "ReadFile"),
        ("nameless.keras None", "not clear what this model's inputs are", "a, b"),
        ("former.keras tokens", "no such input", "tokens"),
        ("few.keras None", "no embedding of", "number"),
        ("sigmoid.keras None", "no classifier of texts", "of a sigmoid"),
        ("export", "cannot convert", None),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_reason(
    told: dict[str, Any], asked: str, message: str, given: str | None
) -> None:
    found = told[asked]
    assert found["error"] == "BuildError"
    assert message in found["message"]
    assert given is None or given in found["given"]
    assert asked != "export" or "Betainc" in found["message"]


@pytest.mark.tensorflow
@pytest.mark.slow
def test_a_model_that_padding_changes_is_refused_unless_it_takes_one_length(keras_models: Path, tmp_path: Path) -> None:
    import numpy as np

    text = {"input_ids": np.array([[2, 7, 8, 9, 3] + 11 * [0]], np.int32)}
    text["attention_mask"] = (text["input_ids"] > 0).astype(np.int32)
    for name in ("heedless.keras", "fixed.keras"):
        spec = ModelSpec(keras=name)
        keras.adopt(spec, *keras.locate(spec, keras_models), ("a", "b", "c"), tmp_path / name)
    assert keras.logits(tmp_path / "fixed.keras", [text]).shape == (1, 3)
    with pytest.raises(BuildError, match="change with the padding") as caught:
        keras.logits(tmp_path / "heedless.keras", [text])
    assert "mask_zero" in str(caught.value)


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.parametrize(("name", "said"), [("lambda.keras", "in a Lambda"), ("custom.keras", "does not bring")])
def test_code_in_a_keras_file_is_found_before_tensorflow_is_started(keras_models: Path, name: str, said: str) -> None:
    with pytest.raises(BuildError, match=said) as caught:
        keras.locate(ModelSpec(keras=name), keras_models)
    assert "model.export" in str(caught.value)


LAYER = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense"}, "registered_name": None}


@pytest.mark.parametrize(
    "hidden",
    [
        {"class_name": "__lambda__", "config": {"value": "4wEA"}},
        {"class_name": "Lambda", "config": {"function": ["4wEA", None, None]}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/tmp/elsewhere"}},
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
        {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"},
        {"module": "keras.src.utils.file_utils", "class_name": "get_file", "config": {}},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}},
        {"module": "builtins", "class_name": "Mine", "config": {}, "registered_name": "mine>Mine"},
        {"module": "keraslike.layers", "class_name": "Dense", "config": {}},
    ],
)
def test_a_configuration_that_reaches_for_code_is_refused_wherever_it_hides(hidden: dict[str, Any]) -> None:
    keras_config.check({"config": {"layers": [LAYER]}}, "x")
    with pytest.raises(BuildError):
        keras_config.check({"config": {"layers": [LAYER, {**LAYER, "config": {"activation": hidden}}]}}, "x")


def test_what_is_no_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    (tmp_path / "text.keras").write_text("no archive")
    (tmp_path / "other.bin").write_text("")
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "alone.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(LAYER))
    for name, said in (
        ("text.keras", "no Keras file"),
        ("other.bin", "by its name"),
        ("folder", "no SavedModel"),
        ("missing.keras", "no such model"),
        ("alone.keras", "no tokenizer.json"),
    ):
        with pytest.raises(BuildError, match=said) as caught:
            keras.locate(ModelSpec(keras=name), tmp_path)
        assert name in str(caught.value)


def test_without_tensorflow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        keras.locate(ModelSpec(keras="x.keras"), tmp_path)
    assert "edgekit[tensorflow]" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["layers.Lambda", "config.enable_unsafe_deserialization", "datasets.mnist.load_data", "load_model"],
)
def test_names_of_what_keras_holds_besides_layers_are_refused(name: str) -> None:
    hidden = {"module": "keras", "class_name": name, "config": {}}
    with pytest.raises(BuildError, match="class that Keras does not bring"):
        keras_config.check({"config": {"layers": [LAYER, hidden]}}, "x")
    with pytest.raises(BuildError):
        keras_config.check({"config": {"layers": [{**hidden, "module": "keras.models"}]}}, "x")


def test_what_an_inner_model_was_compiled_with_is_looked_at_and_the_whole_ones_is_not_opened() -> None:
    foreign = {"loss": {"module": "os", "class_name": "system", "config": {}}}
    keras_config.check({"config": {"layers": [LAYER]}, "compile_config": foreign}, "x")
    adam = {"optimizer": {"module": "keras.optimizers", "class_name": "Adam", "config": {}}}
    inner = {"module": "keras", "class_name": "Sequential", "config": {}}
    keras_config.check({"config": {"layers": [{**inner, "compile_config": adam}]}}, "x")
    with pytest.raises(BuildError, match="class that Keras does not bring"):
        keras_config.check({"config": {"layers": [{**inner, "compile_config": foreign}]}}, "x")


def test_a_configuration_without_end_is_told() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"config": deep}
    with pytest.raises(BuildError, match="no Keras model"):
        keras_config.check(deep, "x")


@pytest.mark.tensorflow
@pytest.mark.slow
def test_a_saved_model_that_would_act_while_it_is_loaded_is_refused(tmp_path: Path) -> None:
    """In a process of its own, as tensorflow always is."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("needs the 'tensorflow' extra")
    script = tmp_path / "look.py"
    script.write_text(SAVED)
    done = subprocess.run([sys.executable, "-P", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:4] == [
        "this SavedModel is not opened: it is written as tensorflow 1 did",
        "this SavedModel is not opened: an operation that may do more than compute",
        "DebugIdentity",
        "fine",
    ], done.stderr[-2000:]
    assert not (tmp_path / "dump").exists()
    assert not list(tmp_path.glob("evil*"))


SAVED = """
import sys
from pathlib import Path
import tensorflow as tf
from edgekit.errors import BuildError
from edgekit.models import keras_graph

here = Path(sys.argv[1])
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    asked = tf.compat.v1.placeholder(tf.int32, [None, 8])
    save = tf.raw_ops.SaveV2(prefix=str(here / "evil"), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.ones(1)])
    builder = tf.compat.v1.saved_model.Builder(str(here / "old"))
    info = tf.compat.v1.saved_model.utils.build_tensor_info(asked)
    signature = tf.compat.v1.saved_model.signature_def_utils.build_signature_def({"a": info}, {"b": info}, "x")
    builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=save)
    builder.save()

spec = tf.TensorSpec([None, 8], tf.int32, name="input_ids")


class Debugging(tf.Module):
    @tf.function(input_signature=[spec])
    def __call__(self, input_ids):
        return tf.raw_ops.DebugIdentity(input=tf.cast(input_ids, tf.float32), debug_urls=[f"file://{here}/dump"])


class Plain(tf.Module):
    def __init__(self):
        self.table = tf.Variable(tf.ones([4, 3]))

    @tf.function(input_signature=[spec])
    def __call__(self, input_ids):
        return tf.reduce_mean(tf.gather(self.table, input_ids), axis=1)


for name, made in (("debug", Debugging()), ("plain", Plain())):
    tf.saved_model.save(made, str(here / name))
for name in ("old", "debug", "plain"):
    try:
        keras_graph.check(here / name)
        print("fine")
    except BuildError as error:
        print(error.message)
        if name == "debug":
            print(error.given)
"""
