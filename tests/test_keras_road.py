"""A Keras model over one's own data, from its file to a signed bundle whose answers are Keras's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from keras_kit import LABELS

from edgekit import load, pipeline
from edgekit.building import Builder
from edgekit.bundle.verify import verify
from edgekit.errors import BuildError, UsageError
from edgekit.evaluating import Made
from edgekit.home import Home

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.torch]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


def builder(models: Path, home: Home, *overrides: str) -> Builder:
    file = models / "mine.yaml"
    return Builder(load.recipe(file, overrides), file.parent, home)


def test_a_keras_file_becomes_a_signed_bundle_whose_int8_meets_the_gates(keras_models: Path, home: Home) -> None:
    built = pipeline.build(keras_models / "mine.yaml", home=home)
    manifest, _ = verify(built.bundle, home.keys / "trusted")
    assert [one.failure for one in built.candidates] == [None, None, None]
    assert all(one.accuracy is not None and one.accuracy > 90 for one in built.candidates), "it was trained"
    by_scheme = {one.scheme: one for one in built.candidates}
    float_size, dynamic, static = (
        by_scheme["w32_a32_float"].size,
        by_scheme["w8_a32_dynamic"],
        by_scheme["w8_a8_static"],
    )
    assert dynamic.coverage is not None
    assert dynamic.coverage > 90, "the table of words is stored in int8 as well: biases and norms are not"
    assert static.coverage is not None
    assert static.coverage > 90
    assert dynamic.size is not None
    assert float_size is not None
    assert dynamic.size < 0.6 * float_size
    assert manifest.labels == LABELS
    assert {"keras"} & set(manifest.versions)
    assert manifest.baseline is not None
    assert manifest.baseline.parity is not None
    assert (manifest.baseline.parity.min_cosine, manifest.baseline.parity.label_agreement) == (1.0, 1.0)
    assert manifest.optimized.lengths == (8, 16)
    assert pipeline.build(keras_models / "mine.yaml", home=home).digest == built.digest


def test_the_files_answers_are_those_that_keras_gives(keras_models: Path, home: Home) -> None:
    from edgekit.convert.tokens import padded, tokenize
    from edgekit.models import keras

    build = builder(keras_models, home)
    samples = build.samples()
    model = build.model(samples)
    reference, module = build.compress(model, samples)
    baseline = build.baseline(reference, samples)
    ids = tokenize(model.folder, [one.text for one in samples.test], 16)
    theirs = keras.logits(model.folder, [padded(one, 16) for one in ids]).argmax(axis=1)
    for one in (baseline, *build.candidates(module, samples)):
        assert isinstance(one, Made)
        assert one.run.measured is not None
        ours = np.array(one.run.measured.labels)
        if one.artifact.scheme == "w32_a32_float":
            assert (ours == theirs).all()
        else:
            assert (ours == theirs).mean() > 0.95


def test_products_are_called_after_the_layers_and_no_integer_version_keeps_the_old_runtime_out(
    keras_models: Path, home: Home, tmp_path: Path
) -> None:
    from edgekit import convert
    from edgekit.convert import flatbuffer, names

    build = builder(keras_models, home, "model.keras=saved", "convert.quantization.mixed.float32=[attention.*]")
    samples = build.samples()
    model = build.model(samples)
    made = {}
    for scheme in ("w32_a32_float", "w8_a8_static"):
        made[scheme] = convert.convert(
            model.folder,
            format="tflite",
            scheme=scheme,
            lengths=(8, 16),
            samples=samples,
            calibration=build.recipe.convert.calibration,
            out=tmp_path / f"{scheme}.tflite",
            seed=1,
            float_file=made["w32_a32_float"].file if made else None,
            quantization=build.recipe.convert.quantization,
            runtime="tflite",
        )
    for one in made.values():
        assert "tflite" in one.runtimes
    whole = names.products(flatbuffer.read(made["w32_a32_float"].file))
    assert [one.module for one in whole["len8"]] == [one.module for one in whole["len16"]]
    attention = {f"attention.{one}" for one in ("query", "key", "value", "attention_output")}
    assert {one.module for one in whole["len8"]} == attention | {"up", "down", "pooled", "classifier"}
    realised = {(one.operator, one.precision): one.count for one in made["w8_a8_static"].realised.operators}
    assert realised["FULLY_CONNECTED", "float32"] == 2 * len(attention), "kept so by the recipe, in both signatures"
    assert sum(count for (kind, how), count in realised.items() if kind == "FULLY_CONNECTED" and how == "int8") == 8


def test_a_model_of_one_length_wants_that_bucket(keras_models: Path, home: Home) -> None:
    with pytest.raises(BuildError, match="one length only") as caught:
        builder(keras_models, home, "model.keras=fixed.keras").model(None)
    assert caught.value.allowed == "[16], without buckets"
    assert builder(keras_models, home, "model.keras=fixed.keras", "data.lengths=[16]").model(None).folder.is_dir()


def test_as_many_classes_as_outputs(keras_models: Path, home: Home) -> None:
    with pytest.raises(BuildError, match="another number of outputs") as caught:
        builder(keras_models, home, "data.labels=[animal, motion]").model(None)
    assert "3" in str(caught.value.allowed)


def test_the_scan_refuses_a_keras_model(keras_models: Path, home: Home) -> None:
    with pytest.raises(UsageError, match="torch checkpoint"):
        pipeline.analyze(keras_models / "mine.yaml", home=home)
