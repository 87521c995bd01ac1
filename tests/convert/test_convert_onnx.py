"""ONNX files: any length, the precisions they were asked for, weights once, and what ONNX Runtime makes of them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import language_kit
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import numpy as np  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgekit import convert  # noqa: E402
from edgekit.agent.runtimes import onnx as runtime  # noqa: E402
from edgekit.convert import module, parity  # noqa: E402
from edgekit.convert import onnx as converter  # noqa: E402
from edgekit.convert.onnx_integers import quantize  # noqa: E402
from edgekit.convert.quantize import Plan  # noqa: E402
from edgekit.convert.tokens import padded, tokenize  # noqa: E402
from edgekit.data.samples import Sample, Samples  # noqa: E402
from edgekit.errors import BuildError, DeviceError  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.spec.quantize import Calibration, Mixed, Quantization  # noqa: E402
from edgekit.spec.scheme import FORMAT_SCHEMES  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]
LENGTHS = (8, 16)
FLOAT = "w32_a32_float"
INTEGER = ("w8_a32_weight", "w8_a32_dynamic", "w8_a8_static")


def written(
    folder: Path, samples: Samples, scheme: str, out: Path, float_file: Path | None = None, **asked: object
) -> convert.Converted:
    return convert.convert(
        folder,
        format="onnx",
        scheme=scheme,
        lengths=LENGTHS,
        samples=samples,
        calibration=Calibration(samples=32),
        out=out,
        seed=7,
        float_file=float_file,
        quantization=Quantization(**asked),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def whole(tiny_checkpoint: Path, words: Samples, tmp_path_factory: pytest.TempPathFactory) -> convert.Converted:
    return written(tiny_checkpoint, words, FLOAT, tmp_path_factory.mktemp("onnx") / "float.onnx")


@pytest.fixture(scope="module")
def language(tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2 of one layer: how long an export takes is how many there are."""
    out = tmp_path_factory.mktemp("language") / "model"
    loaded = checkpoints.load(tiny_models_of["gpt2"], task="language")
    loaded.family.set_layers(loaded.module, list(loaded.family.layers(loaded.module))[:1])
    loaded.teacher_layers = (0,)
    checkpoints.save(loaded, out)
    return out


@pytest.fixture(scope="module")
def chain() -> Samples:
    texts = [Sample(one, 0) for one in dict.fromkeys(language_kit.texts(80))]
    return Samples(Path("unused"), (), "0" * 64, texts[:40], texts[40:56], texts[56:])


@pytest.fixture(scope="module")
def spoken(language: Path, chain: Samples, tmp_path_factory: pytest.TempPathFactory) -> convert.Converted:
    return written(language, chain, FLOAT, tmp_path_factory.mktemp("onnx") / "float.onnx")


def computed(done: convert.Converted) -> dict[tuple[str, str], int]:
    return {(one.operator, one.precision): one.count for one in done.realised.operators}


@pytest.mark.parametrize("scheme", FORMAT_SCHEMES["onnx"])
def test_every_scheme_keeps_to_the_float_module(
    scheme: str, whole: convert.Converted, tiny_checkpoint: Path, words: Samples, tmp_path: Path
) -> None:
    done = whole
    if scheme != FLOAT:
        done = written(tiny_checkpoint, words, scheme, tmp_path / "model.onnx", whole.file)
    texts = [one.text for one in words.test]
    held = parity.check(done, format="onnx", scheme=scheme, checkpoint=tiny_checkpoint, texts=texts, lengths=LENGTHS)
    assert held.cases > len(texts) * 2 - 1, "padded to their buckets and as they are"
    assert done.dynamic
    assert [one.length for one in done.signatures] == [8, 16]


def test_a_text_of_any_length_is_answered_unpadded_and_padding_changes_nothing(
    whole: convert.Converted, tiny_checkpoint: Path
) -> None:
    classifier = module.load(tiny_checkpoint, LENGTHS)
    graph = runtime.load(str(whole.file), 1)
    for count in range(1, LENGTHS[-1] + 1):
        ids = [3, 58, 4, 57, 60, 12, 33, 7, 9, 40, 41, 5, 6, 20, 21, 22][:count]
        bare = graph.run(count, ids, [1] * count)
        assert graph.run(16, ids + [0] * (16 - count), [1] * count + [0] * (16 - count)) == pytest.approx(
            bare, abs=1e-5
        )
        given = torch.tensor([ids], dtype=torch.int32)
        with torch.inference_mode():
            assert bare == pytest.approx(classifier(given, torch.ones_like(given))[0].tolist(), abs=1e-5)


def test_each_product_is_in_the_precision_of_its_scheme(
    whole: convert.Converted, tiny_checkpoint: Path, words: Samples, tmp_path: Path
) -> None:
    made = {
        scheme: written(tiny_checkpoint, words, scheme, tmp_path / f"{scheme}.onnx", whole.file) for scheme in INTEGER
    }
    # a first layer of six, and nothing in the second but what is made once a text: query, the two stacks of heads,
    # output and two of the feed-forward net; then pooler and classifier
    assert computed(made["w8_a32_weight"])["MatMul", "int8-weights"] == 12
    assert computed(made["w8_a32_dynamic"])["MatMul", "int8-dynamic"] == 6
    static = computed(made["w8_a8_static"])
    assert static["MatMul", "int8"] + static.get(("MatMul", "int8-dynamic"), 0) == 6
    for done in made.values():
        assert computed(done)["Gather", "int8-weights"] == 2, "tokens and positions"
        assert computed(done)["Gemm", "int8-weights"] == 2
        assert done.realised.weight_bytes["int8"] > 3 * done.realised.weight_bytes["float32"]
        assert done.file.stat().st_size < whole.file.stat().st_size / 2
        assert all(node.domain in ("", "ai.onnx") for node in onnx.load(done.file).graph.node), (
            "operators of the standard"
        )
    told = made["w8_a8_static"].realised.fallbacks
    assert any("int8-weights: made once a text" in one for one in told)
    assert any("Softmax in float32" in one for one in told)


def test_the_runtime_multiplies_integers(
    whole: convert.Converted, tiny_checkpoint: Path, words: Samples, tmp_path: Path
) -> None:
    """Standard operators become products of integers where signed ones are allowed, as on ARM."""
    for scheme in ("w8_a32_dynamic", "w8_a8_static"):
        done = written(tiny_checkpoint, words, scheme, tmp_path / f"{scheme}.onnx", whole.file)
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        options.log_severity_level = 4
        options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
        session = onnxruntime.InferenceSession(str(done.file), options, providers=["CPUExecutionProvider"])
        kinds = [node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node]
        assert kinds.count("MatMulIntegerToFloat") == 6
        assert "DequantizeLinear" not in kinds
        one = padded([3, 58, 4, 57, 60], 5)
        here = converter.run(done.file, [one])
        np.testing.assert_allclose(session.run(["logits"], one)[0], here, rtol=1e-3, atol=1e-3)


def test_the_recipe_chooses_products_and_grids(
    whole: convert.Converted, tiny_checkpoint: Path, words: Samples, tmp_path: Path
) -> None:
    mixed = Mixed(float32=("*.layer.0.attention.*",), dynamic=("*.layer.0.output.*",))
    done = written(
        tiny_checkpoint,
        words,
        "w8_a8_static",
        tmp_path / "mixed.onnx",
        whole.file,
        mixed=mixed,
        activations="symmetric",
    )
    counts = computed(done)
    # four of the attention and, as always, two products of activations in each layer
    assert counts["MatMul", "float32"] == 4 + 4
    assert counts["MatMul", "int8-dynamic"] >= 1
    zeros = [one for one in onnx.load(done.file).graph.initializer if one.name.startswith("zero.")]
    assert [one.name for one in zeros] == ["zero.0"], "symmetric: no zero point but 0"
    per_tensor = written(
        tiny_checkpoint, words, "w8_a32_dynamic", tmp_path / "tensor.onnx", whole.file, weights="tensor"
    )
    scales = [
        numpy_helper.to_array(one)
        for one in onnx.load(per_tensor.file).graph.initializer
        if one.name.endswith(".scales")
    ]
    assert scales
    assert all(len(np.unique(one)) == 1 for one in scales)


def test_weights_that_were_rounded_by_learning_stay_on_their_grid(
    tiny_checkpoint: Path, words: Samples, tmp_path: Path
) -> None:
    done = written(tiny_checkpoint, words, "w8_a32_dynamic", tmp_path / "model.onnx", rounding="learned", smooth=0.5)
    held = parity.check(
        done,
        format="onnx",
        scheme="w8_a32_dynamic",
        checkpoint=tiny_checkpoint,
        texts=[one.text for one in words.test],
        lengths=LENGTHS,
    )
    assert held.min_cosine > 0.98
    assert computed(done)["MatMul", "int8-dynamic"] == 6


def test_layers_that_share_their_weights_store_them_once(
    tiny_models_of: dict[str, Path], words: Samples, tmp_path: Path
) -> None:
    """ALBERT: each of its layers is the same one, called again."""
    torch.manual_seed(5)  # the classifier's: of some, all answers are ties
    checkpoints.save(checkpoints.load(tiny_models_of["albert"], ["animal", "weather", "motion"]), tmp_path / "albert")
    plain = written(tmp_path / "albert", words, FLOAT, tmp_path / "float.onnx")
    small = written(tmp_path / "albert", words, "w8_a32_dynamic", tmp_path / "int8.onnx", plain.file)
    for done in (plain, small):
        weights = [one for one in onnx.load(done.file).graph.initializer if len(one.dims) > 1]
        assert len({(one.data_type, tuple(one.dims), one.raw_data) for one in weights}) == len(weights)
        texts = [one.text for one in words.test[:4]]
        scheme = FLOAT if done is plain else "w8_a32_dynamic"
        held = parity.check(
            done, format="onnx", scheme=scheme, checkpoint=tmp_path / "albert", texts=texts, lengths=LENGTHS
        )
        assert held.min_cosine >= held.required_cosine
    graph = onnx.load(small.file).graph
    stored = {one.name for one in graph.initializer}
    read = [one.input[0] for one in graph.node if one.op_type == "DequantizeLinear" and one.input[0] in stored]
    assert len(read) == computed(small)["MatMul", "int8-dynamic"]
    assert len(set(read)) < len(read), "several products read one weight"


@pytest.mark.parametrize("scheme", FORMAT_SCHEMES["onnx"])
def test_a_language_models_table_and_output_are_one_constant(
    scheme: str, spoken: convert.Converted, language: Path, chain: Samples, tmp_path: Path
) -> None:
    done = spoken
    if scheme != FLOAT:
        done = written(language, chain, scheme, tmp_path / "model.onnx", spoken.file)
    structure = checkpoints.read_structure(language)
    shape = {structure.vocabulary, structure.hidden}
    tables = [one for one in onnx.load(done.file).graph.initializer if set(one.dims) == shape]
    assert len(tables) == 1
    assert tables[0].data_type == {"w32": 1, "w16": 10, "w8": 3}[scheme.split("_")[0]]
    texts = [one.text for one in chain.test[:8]]
    held = parity.check(done, format="onnx", scheme=scheme, checkpoint=language, texts=texts, lengths=LENGTHS)
    assert held.min_cosine >= held.required_cosine
    ids = tokenize(language, texts[:1], 16)[0][:6]
    assert converter.run(done.file, [padded(ids, 6)]).shape == (6, structure.vocabulary)


@pytest.mark.parametrize("scheme", [FLOAT, "w8_a8_static"])
def test_bytes_do_not_depend_on_the_process_and_hold_none_of_the_hosts_paths(
    scheme: str, whole: convert.Converted, tiny_checkpoint: Path, words: Samples, tmp_path: Path
) -> None:
    here = whole
    if scheme != FLOAT:
        here = written(tiny_checkpoint, words, scheme, tmp_path / "here.onnx", whole.file)
    texts = () if scheme == FLOAT else tuple(convert._calibration_texts(words, Calibration(samples=32), 7, ""))
    code = (
        "from pathlib import Path; from edgekit.convert import onnx; from edgekit.convert.job import Job;"
        "from edgekit.spec.quantize import Calibration;"
        f"onnx.write(Job(Path({str(tiny_checkpoint)!r}), {scheme!r}, (8, 16), {texts!r}, Calibration(samples=32),"
        f" Path({str(tmp_path / 'there.onnx')!r}), seed=7, integer_results=False))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    content = here.file.read_bytes()
    assert content == (tmp_path / "there.onnx").read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content


def test_what_would_overflow_in_16_bits_does_not(tmp_path: Path) -> None:
    """x86 without VNNI adds pairs of products in 16 bits: 2·127·255 is too much for it."""
    given = np.full((1, 4, 64), 1.0, np.float32)
    given[:, 1] = -1.0
    weight = np.ones((64, 8), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"], "product")],
        "one product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "length", 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "length", 8])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    plan = Plan("w8_a8_static", inputs={"product": (-1.0, 1.0)}, integer_results=False)
    onnx.save(quantize(model, plan), tmp_path / "model.onnx")
    loaded = runtime.load(str(tmp_path / "model.onnx"), 1)._session
    np.testing.assert_allclose(loaded.run(None, {"x": given})[0], given @ weight, rtol=0.01)


def test_a_scheme_that_no_onnx_file_holds_is_refused(tiny_checkpoint: Path, words: Samples, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot hold this scheme") as caught:
        written(tiny_checkpoint, words, "w4_a32_weight", tmp_path / "model.onnx")
    assert "w8_a8_static" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_told_in_words(whole: convert.Converted, tiny_checkpoint: Path, tmp_path: Path) -> None:
    content = whole.file.read_bytes()
    for number, bad in enumerate((b"", b"no model at all", content[: len(content) // 2], content[100:])):
        file = tmp_path / f"{number}.onnx"
        file.write_bytes(bad)
        with pytest.raises(DeviceError, match="ONNX Runtime cannot"):
            runtime.load(str(file), 1).run(2, [1, 2], [1, 1])
        broken = dataclasses.replace(whole, file=file)
        with pytest.raises(BuildError, match="does not run"):
            parity.check(broken, format="onnx", scheme=FLOAT, checkpoint=tiny_checkpoint, texts=["a"], lengths=LENGTHS)
