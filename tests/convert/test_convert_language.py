"""A language model as a file: logits of every token, the tied table once."""

from __future__ import annotations

from pathlib import Path

import language_kit
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")

from edgekit import compress, convert  # noqa: E402
from edgekit.convert import flatbuffer, module, parity, tflite, tokens, torchscript  # noqa: E402
from edgekit.convert.job import Converted  # noqa: E402
from edgekit.data.samples import Sample, Samples  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.spec.quantize import Calibration, Quantization  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (8, 16)
TEXTS = tuple(dict.fromkeys(language_kit.texts(80)))


@pytest.fixture(scope="module")
def chain() -> Samples:
    texts = [Sample(one, 0) for one in TEXTS]
    return Samples(Path("unused"), (), "0" * 64, texts[:40], texts[40:56], texts[56:])


@pytest.fixture(scope="module")
def language(tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2 of two layers: how long an export takes is how many there are."""
    out = tmp_path_factory.mktemp("language") / "model"
    loaded = checkpoints.load(tiny_models_of["gpt2"], task="language")
    loaded.family.set_layers(loaded.module, list(loaded.family.layers(loaded.module))[:2])
    loaded.teacher_layers = (0, 1)
    checkpoints.save(loaded, out)
    return out


@pytest.fixture(scope="module")
def whole(language: Path, chain: Samples, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    return written(language, chain, "tflite", "w32_a32_float", tmp_path_factory.mktemp("float") / "float.tflite")


def written(
    language: Path, chain: Samples, form: str, scheme: str, out: Path, float_file: Path | None = None, **asked: object
) -> Converted:
    return convert.convert(
        language,
        format=form,
        scheme=scheme,
        lengths=LENGTHS,
        samples=chain,
        calibration=Calibration(samples=32),
        out=out,
        seed=7,
        float_file=float_file,
        quantization=Quantization(**asked),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("family", ["gpt2", "transformer-xl"])
def test_the_exported_module_gives_what_transformers_gives_at_every_real_token(
    family: str, tiny_models_of: dict[str, Path], tmp_path: Path
) -> None:
    compress.adopt(tiny_models_of[family], tmp_path / "model")
    loaded = checkpoints.load(tmp_path / "model")
    ids = torch.tensor([[3, 7, 9, 11, 13, 2, 0, 0]], dtype=torch.int32)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0, 0]], dtype=torch.int32)
    with torch.inference_mode():
        given = module.load(tmp_path / "model", LENGTHS)(ids, mask)
        wanted = loaded.module(ids[:, :6].long(), mask[:, :6].long()).logits
    assert given.shape == (1, 8, loaded.structure.vocabulary)
    torch.testing.assert_close(given[:, :6], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_file_says_logits_of_every_token_and_gives_them(whole: Converted, language: Path) -> None:
    vocabulary = checkpoints.read_structure(language).vocabulary
    assert [one.outputs[0].shape for one in whole.signatures] == [(1, 8, vocabulary), (1, 16, vocabulary)]
    found = parity.check(
        whole, format="tflite", scheme="w32_a32_float", checkpoint=language, texts=TEXTS[:12], lengths=LENGTHS
    )
    assert found.min_cosine >= 0.9999
    ids = tokens.tokenize(language, TEXTS[:1], 16)[0][:6]
    rows = [tflite.run(whole.file, [tokens.padded(ids, length)]) for length in LENGTHS]
    assert rows[0].shape == (len(ids), vocabulary), "padding gives no row"
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "scheme", ["w32_a32_float", "w8_a32_dynamic", "w8_a8_static", "w8_a32_weight", "w4_a32_dynamic"]
)
def test_the_table_and_the_output_are_one_constant_in_every_scheme(
    scheme: str, whole: Converted, language: Path, chain: Samples, tmp_path: Path
) -> None:
    done = whole
    if scheme != "w32_a32_float":
        done = written(language, chain, "tflite", scheme, tmp_path / "model.tflite", whole.file)
    structure = checkpoints.read_structure(language)
    bits = {"w32": 32, "w8": 8, "w4": 4}[scheme.split("_")[0]]
    shape = (structure.vocabulary, structure.hidden)
    model = flatbuffer.read(done.file)
    tables = {
        one.buffer: one.size
        for graph in model.subgraphs
        for one in graph.tensors
        if one.shape == shape and one.constant
    }
    assert list(tables.values()) == [structure.vocabulary * structure.hidden * bits // 8]
    kinds = {one.kind for graph in model.subgraphs for one in graph.operators}
    assert {"EMBEDDING_LOOKUP", "FULLY_CONNECTED"} <= kinds


@pytest.mark.slow
def test_smoothing_leaves_the_words_as_they_are(
    whole: Converted, language: Path, chain: Samples, tmp_path: Path
) -> None:
    """The output is the embedding again: to scale its columns would change every word that is read."""
    done = written(language, chain, "tflite", "w8_a32_dynamic", tmp_path / "smooth.tflite", whole.file, smooth=0.5)
    inputs = [tokens.padded(ids, 16) for ids in tokens.tokenize(language, TEXTS[:8], 16)]
    given, wanted = (tflite.run(one.file, inputs) for one in (done, whole))
    cosines = (given * wanted).sum(1) / np.linalg.norm(given, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() > 0.99


def test_torchscript_gives_the_logits_of_every_token_too(language: Path, chain: Samples, tmp_path: Path) -> None:
    done = written(language, chain, "ptl", "w32_a32_float", tmp_path / "model.ptl")
    inputs = [tokens.padded(ids, 16) for ids in tokens.tokenize(language, TEXTS[:4], 16)]
    loaded = module.load(language, LENGTHS)
    with torch.inference_mode():
        wanted = [
            tokens.rows(loaded(*(torch.from_numpy(each) for each in one.values())).numpy(), one) for one in inputs
        ]
    np.testing.assert_allclose(torchscript.run(done.file, inputs), np.concatenate(wanted), rtol=1e-4, atol=1e-4)
