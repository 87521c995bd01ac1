"""Small Keras models, built and trained by tensorflow itself in a process of its own: the tests' process has torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
from pipeline_kit import KINDS, write
from tokenizers import Tokenizer

LABELS = tuple(sorted(KINDS))
LENGTH = 16
RECIPE = """\
name: mine-keras
model: {keras: former.keras}
data:
  source: jsonl
  files: [mine.jsonl]
  labels: [animal, motion, weather]
  validation: 24
  test: 60
  lengths: [8, 16]
convert:
  schemes: [w32_a32_float, w8_a32_dynamic, w8_a8_static]
  calibration: {samples: 64}
gates: {accuracy_drop: 5}
"""
SCRIPT = """
    import sys
    import h5py, keras, numpy as np, tensorflow as tf
    from keras import layers, ops

    folder, vocabulary = sys.argv[1], int(sys.argv[2])
    keras.utils.set_random_seed(3)
    given = np.load(folder + "/samples.npz")


    def ids(name="input_ids", length=None):
        return keras.Input((length,), dtype="int32", name=name)


    def save(name, inputs, outputs):
        model = keras.Model(inputs, outputs)
        model.save(folder + "/" + name)
        return model


    # attention, layer norm, GELU, a mean over the real tokens, and a softmax at the end
    tokens, mask = ids(), ids("attention_mask")
    x = layers.Embedding(vocabulary, 32, name="words")(tokens)
    x = x + layers.MultiHeadAttention(4, 8, name="attention")(x, x, attention_mask=ops.expand_dims(mask, 1))
    x = layers.LayerNormalization(name="norm")(x)
    x = x + layers.Dense(32, name="down")(layers.Dense(64, activation="gelu", name="up")(x))
    real = ops.expand_dims(ops.cast(mask, "float32"), -1)
    x = ops.sum(x * real, 1) / ops.sum(real, 1)
    x = layers.Dense(32, activation="relu", name="pooled")(x)
    former = keras.Model([tokens, mask], layers.Dense(3, activation="softmax", name="classifier")(x))
    former.compile("adam", "sparse_categorical_crossentropy")
    former.fit([given["ids"], given["mask"]], given["labels"], epochs=30, batch_size=32, verbose=0)
    former.save(folder + "/former.keras")
    former.export(folder + "/saved", verbose=False)

    # one input: the token 0 is padding
    one = ids("words")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(vocabulary, 16, mask_zero=True)(one))
    save("bag.keras", one, layers.Dense(3)(x))
    save("sigmoid.keras", one, layers.Dense(3, activation="sigmoid")(x))
    # padding counts, of any length and of one
    for name, length in (("heedless.keras", None), ("fixed.keras", 16), ("fixed.h5", 16)):
        one = ids(length=length)
        x = layers.GlobalAveragePooling1D()(layers.Embedding(vocabulary, 16)(one))
        save(name, one, layers.Dense(3)(x))
    # inputs whose names say nothing, fewer embeddings than tokens
    first, second = ids("a"), ids("b")
    x = layers.Embedding(vocabulary, 16)(first) * ops.expand_dims(ops.cast(second, "float32"), -1)
    save("nameless.keras", [first, second], layers.Dense(3)(ops.sum(x, 1)))
    one = ids()
    x = layers.GlobalAveragePooling1D()(layers.Embedding(vocabulary - 1, 16, mask_zero=True)(one))
    save("few.keras", one, layers.Dense(3)(x))

    # what runs code of its own
    doubled = layers.Lambda(lambda states: states * 2, name="doubled")(x)
    save("lambda.keras", one, layers.Dense(3)(doubled))
    save("lambda.h5", one, layers.Dense(3)(doubled))


    @keras.saving.register_keras_serializable(package="mine")
    class Mine(layers.Layer):
        def call(self, states):
            return states


    save("custom.keras", one, layers.Dense(3)(Mine()(x)))


    class Serving(tf.Module):
        def __init__(self, run):
            self.run = run


    def export(name, run):
        spec = {one: tf.TensorSpec([None, None], tf.int32, one) for one in ("input_ids", "attention_mask")}
        module = Serving(tf.function(run))
        tf.saved_model.save(module, folder + "/" + name, signatures=module.run.get_concrete_function(**spec))


    def python(input_ids, attention_mask):
        return {"logits": tf.py_function(lambda one: tf.cast(one[:, :3], tf.float32), [input_ids], tf.float32)}


    def reading(input_ids, attention_mask):
        size = tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)
        return {"logits": tf.cast(input_ids[:, :3] * attention_mask[:, :3], tf.float32) * size}


    def unwritable(input_ids, attention_mask):
        # computes, with operations that TFLite has not
        states = tf.cast(input_ids[:, :3] * attention_mask[:, :3], tf.float32)
        return {"logits": tf.math.betainc(states, states, states / 100.0)}


    export("python", python)
    export("reading", reading)
    export("unwritable", unwritable)
"""


def write_models(folder: Path, tokenizer: Path) -> Path:
    """All models, ``tokenizer.json`` and a recipe's data in ``folder``; the recipe is ``mine.yaml``."""
    recipe = write(folder, tokenizer.parent, RECIPE)
    text = tokenizer.read_text()
    (folder / "tokenizer.json").write_text(text)
    rows = [json.loads(line) for line in (folder / "mine.jsonl").read_text().splitlines()]
    given = Tokenizer.from_str(text)
    given.no_padding()
    ids = np.zeros((len(rows), LENGTH), np.int32)
    for number, row in enumerate(rows):
        found = given.encode(row["text"]).ids[:LENGTH]
        ids[number, : len(found)] = found
    labels = np.array([LABELS.index(row["label"]) for row in rows])
    np.savez(folder / "samples.npz", ids=ids, mask=(ids > 0).astype(np.int32), labels=labels)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder), str(max(given.get_vocab().values()) + 1)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return recipe
