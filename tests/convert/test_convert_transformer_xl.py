"""Transformer-XL as a file: one segment a bucket, with nothing before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")

from edgekit import convert  # noqa: E402
from edgekit.compress import qat, student  # noqa: E402
from edgekit.compress.encoded import encode  # noqa: E402
from edgekit.convert import flatbuffer, module, parity, tflite  # noqa: E402
from edgekit.convert.tokens import padded  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.structure import Layer  # noqa: E402
from edgekit.spec.qat import Qat  # noqa: E402
from edgekit.spec.quantize import Calibration  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (8, 16)
TEXTS = ([2, 11, 7, 3], [2, 11, 7, 9, 30, 12, 8, 3], [2, 3])


@pytest.fixture(scope="module")
def folder(tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Uneven layers, and random weights: u, v and W_R are far from nothing."""
    loaded = checkpoint.load(tiny_models_of["transformer-xl"], ["animal", "weather", "motion"])
    loaded.family.set_layers(loaded.module, list(loaded.family.layers(loaded.module))[:2])
    loaded.teacher_layers = (0, 1)
    checkpoint.shape(loaded.family, loaded.module, [Layer(4, 64), Layer(3, 40)])
    torch.manual_seed(5)
    for name, one in loaded.module.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(one, std=0.3)
    out = tmp_path_factory.mktemp("transformer-xl") / "uneven"
    checkpoint.save(loaded, out)
    return out


@pytest.fixture(scope="module")
def float_file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("float") / "model.tflite"
    tflite.export(module.load(folder, LENGTHS), LENGTHS, out)
    return out


def answers(folder: Path) -> np.ndarray:
    """The checkpoint's own module on each text, without padding."""
    loaded = checkpoint.load(folder)
    with torch.inference_mode():
        return np.concatenate([loaded.module(torch.tensor([ids])).logits.numpy() for ids in TEXTS])


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("filler", [0, 17])
def test_padding_changes_no_answer_of_the_exported_module(folder: Path, length: int, filler: int) -> None:
    """Not what stands at padded places, nor how many there are."""
    classifier = module.load(folder, LENGTHS)
    rows = []
    for ids in TEXTS:
        given = {name: torch.from_numpy(one) for name, one in padded(ids, length).items()}
        given["input_ids"] = torch.where(given["attention_mask"] == 1, given["input_ids"], filler).int()
        with torch.inference_mode():
            rows.append(classifier(**given).numpy())
    np.testing.assert_allclose(np.concatenate(rows), answers(folder), rtol=0, atol=1e-5)


def test_texts_of_unlike_lengths_in_one_batch_keep_their_answers(folder: Path) -> None:
    classifier = module.load(folder, LENGTHS)
    each = [padded(ids, 8) for ids in TEXTS]
    given = {name: torch.from_numpy(np.concatenate([one[name] for one in each])) for name in each[0]}
    with torch.inference_mode():
        np.testing.assert_allclose(classifier(**given).numpy(), answers(folder), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("length", LENGTHS)
def test_padding_changes_no_answer_of_the_file(folder: Path, float_file: Path, length: int) -> None:
    given = tflite.run(float_file, [padded(ids, length) for ids in TEXTS])
    np.testing.assert_allclose(given, answers(folder), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_keys_of_distances_are_constants(float_file: Path) -> None:
    """No sine is computed in the file: a product of queries with a constant a layer."""
    model = flatbuffer.read(float_file)
    for name, length in zip(("len8", "len16"), LENGTHS, strict=True):
        graph = model.subgraph(name)
        assert not {"SIN", "COS", "POW"} & {one.kind for one in graph.operators}
        by_distance = [
            graph.tensors[one.inputs[1]].shape
            for one in graph.operators
            if one.kind == "BATCH_MATMUL" and graph.tensors[one.inputs[1]].constant
        ]
        assert by_distance == [(4, 8, length), (3, 8, length)]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["w8_a32_dynamic", "w8_a8_static"])
def test_every_scheme_keeps_parity_in_every_bucket(
    folder: Path, float_file: Path, words: Samples, tmp_path: Path, scheme: str
) -> None:
    written = convert.convert(
        folder,
        format="tflite",
        scheme=scheme,
        lengths=LENGTHS,
        samples=words,
        calibration=Calibration(samples=32),
        out=tmp_path / "model.tflite",
        seed=7,
        float_file=float_file,
    )
    texts = [one.text for one in (*words.test, *words.validation)]
    held = parity.check(written, format="tflite", scheme=scheme, checkpoint=folder, texts=texts, lengths=LENGTHS)
    assert held.min_cosine >= held.required_cosine
    assert [one.length for one in written.signatures] == list(LENGTHS)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_a_model_trained_for_its_grid_answers_as_its_file(
    folder: Path, words: Samples, tmp_path: Path, activation: str
) -> None:
    """To one step of the logits: scores of distances are float on both sides, all products are on one grid; a file has
    ReLU in the product before it, and one tensor there."""
    loaded = checkpoint.load(folder)
    student.activate(loaded, activation)
    options = Qat(clipping="observed", epochs=0, samples=32, fidelity=0)
    qat.prepare(loaded, options, encode(words.train[:32], loaded, LENGTHS[-1]))
    with torch.inference_mode():
        fake = np.concatenate([loaded.module(torch.tensor([ids])).logits.numpy() for ids in TEXTS])
    qat.bake(loaded, options)
    checkpoint.save(loaded, tmp_path / "trained")
    written = convert.convert(
        tmp_path / "trained",
        format="tflite",
        scheme="w8_a8_static",
        lengths=LENGTHS[:1],
        samples=words,
        calibration=Calibration(samples=2),
        out=tmp_path / "model.tflite",
        seed=7,
    )
    given = tflite.run(written.file, [padded(ids, LENGTHS[0]) for ids in TEXTS])
    assert loaded.grid is not None
    low, high = loaded.grid.products["classifier"].output
    assert np.abs(given - fake).max() < 1.01 * (high - low) / 255
