"""What really stands in a quantized file: types, scales, zero points and the very integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("litert_torch")

import numpy as np
import torch
from ai_edge_litert.tools import flatbuffer_utils

from edgekit import convert
from edgekit.convert import (
    faked,
    flatbuffer,
    graph,
    lean,
    module,
    names,
    parity,
    prepare,
    quantize,
    realised,
    rounding,
    tflite,
)
from edgekit.convert.job import Job
from edgekit.convert.quantize import Plan
from edgekit.convert.tokens import padded
from edgekit.data.samples import Samples
from edgekit.errors import BuildError
from edgekit.models import checkpoint
from edgekit.models.structure import Layer
from edgekit.spec.quantize import Calibration, Mixed, Quantization

pytestmark = [pytest.mark.torch, pytest.mark.slow]
LENGTHS = (8, 16)


@pytest.fixture(scope="module")
def relu(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer, with ReLU in its feed-forward net."""
    loaded = checkpoint.load(tiny_bert, ["animal", "weather", "motion"])
    loaded.family.set_layers(loaded.module, loaded.family.layers(loaded.module)[:1])
    loaded.teacher_layers = (0,)
    loaded.module.config.hidden_act = "relu"
    out = tmp_path_factory.mktemp("relu") / "checkpoint"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for name, one in loaded.module.named_parameters():
            if "LayerNorm" not in name:
                torch.nn.init.normal_(one, std=0.3)
    checkpoint.save(loaded, out)
    return out


def products(file: Path) -> list[names.Product]:
    return [one for found in names.products(flatbuffer.read(file)).values() for one in found]


def written(
    source: Path, out: Path, scheme: str, asked: Quantization | None = None, **changed: Any
) -> flatbuffer.Model:
    modules = {one.module for one in products(source)}
    ranges = dict.fromkeys(modules, (-6.0, 10.0))
    plan = Plan(scheme, asked or Quantization(), inputs=ranges, outputs=ranges, **changed)
    with module.hushed():
        out.write_bytes(quantize.quantize(source, plan))
    return flatbuffer.read(out)


def tensors(model: flatbuffer.Model) -> dict[str, flatbuffer.Tensor]:
    return {one.name: one for sub in model.subgraphs for one in sub.tensors}


def test_every_product_has_its_modules_name_and_weight(tiny_float: Path, tiny_checkpoint: Path) -> None:
    linears = graph.linears(module.load(tiny_checkpoint, LENGTHS))
    found = names.products(flatbuffer.read(tiny_float))
    assert sorted(found) == ["len16", "len8"]
    content = {
        tensor.name.decode(): (sub, tensor)
        for sub in flatbuffer_utils.read_model_from_bytearray(bytearray(tiny_float.read_bytes())).subgraphs
        for tensor in sub.tensors
    }
    buffers = flatbuffer_utils.read_model_from_bytearray(bytearray(tiny_float.read_bytes())).buffers
    for one in found.values():
        assert sorted(product.module for product in one) == sorted(linears)
        for product in one:
            data = bytes(buffers[content[product.weight][1].buffer].data)
            assert data == linears[product.module].weight.detach().numpy().tobytes()


def test_a_layer_norm_is_not_folded_into_the_products_after_it(tiny_checkpoint: Path, tmp_path: Path) -> None:
    classifier = module.load(tiny_checkpoint, (8,))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for one in classifier.modules():
            if isinstance(one, torch.nn.LayerNorm):
                one.weight.data.uniform_(0.2, 3.0)
                one.bias.data.normal_()
    linears = graph.linears(classifier)
    inputs = padded([3, 58, 4], 8)
    with torch.inference_mode():
        expected = classifier(*(torch.from_numpy(one) for one in inputs.values())).numpy()
    tflite.export(classifier, (8,), tmp_path / "x.tflite")
    assert sorted(one.module for one in products(tmp_path / "x.tflite")) == sorted(linears)
    assert tflite.run(tmp_path / "x.tflite", [inputs]) == pytest.approx(expected, abs=1e-4)


def test_constants_stand_once_and_names_are_short(tiny_float: Path) -> None:
    model = flatbuffer.read(tiny_float)
    assert max(len(one) for one in tensors(model)) < 60
    lookups = [
        {sub.tensors[one.inputs[1]].buffer for one in sub.operators if one.kind == "EMBEDDING_LOOKUP"}
        for sub in model.subgraphs
    ]
    # words and positions, one table each for both lengths
    assert lookups[0] == lookups[1]
    assert len(lookups[0]) == 2
    content = flatbuffer_utils.read_model_from_bytearray(bytearray(tiny_float.read_bytes()))
    filled = [bytes(one.data) for one in content.buffers if one.data is not None and len(one.data) > 64]
    assert len(filled) == len(set(filled))
    assert len(lean.shared(tiny_float.read_bytes())) <= tiny_float.stat().st_size


def test_scales_are_one_a_channel_or_one_a_tensor(tiny_float: Path, tmp_path: Path) -> None:
    channel = tensors(written(tiny_float, tmp_path / "c", "w8_a32_dynamic"))
    tensor = tensors(written(tiny_float, tmp_path / "t", "w8_a32_dynamic", Quantization(weights="tensor")))
    for one in products(tiny_float):
        assert len(channel[one.weight].scales) == channel[one.weight].shape[0]
        assert len(tensor[one.weight].scales) == 1
        assert tensor[one.weight].scales[0] == pytest.approx(max(channel[one.weight].scales))


def test_symmetric_activations_have_no_zero_point(tiny_float: Path, tmp_path: Path) -> None:
    def zeros(asked: Quantization) -> set[int]:
        model = written(tiny_float, tmp_path / "x", "w8_a8_static", asked)
        return {
            model.subgraphs[0].tensors[place].zeros[0]
            for one in model.subgraphs[0].operators
            if one.kind == "FULLY_CONNECTED" and model.subgraphs[0].tensors[one.outputs[0]].dtype == "int8"
            for place in (one.inputs[0], one.outputs[0])
        }

    assert zeros(Quantization(activations="symmetric")) == {0}
    assert zeros(Quantization()) == {round(-128 + 6 / (16 / 255))}


def test_int4_holds_int4_and_halves_the_weights(tiny_float: Path, tmp_path: Path) -> None:
    sizes = {}
    for scheme in ("w8_a32_weight", "w4_a32_weight", "w4_a32_dynamic"):
        model = written(tiny_float, tmp_path / scheme, scheme)
        kinds = {tensors(model)[one.weight].dtype for one in products(tiny_float)}
        assert kinds == {scheme[:2].replace("w", "int")}
        sizes[scheme] = realised.tflite(tmp_path / scheme, scheme).weight_bytes[kinds.pop()]
        assert np.isfinite(tflite.run(tmp_path / scheme, [padded([3, 58, 4], 8)])).all()
    assert sizes["w4_a32_weight"] == sizes["w4_a32_dynamic"] == pytest.approx(sizes["w8_a32_weight"] / 2, rel=0.01)
    found = {one.precision for one in realised.tflite(tmp_path / "w4_a32_dynamic", "w4_a32_dynamic").operators}
    assert {"int4-dynamic", "int4-weights"} <= found


def test_half_precision_halves_the_weights_and_changes_little(tiny_float: Path, tmp_path: Path) -> None:
    written(tiny_float, tmp_path / "half", "w16_a32_float")
    half = realised.tflite(tmp_path / "half", "w16_a32_float")
    plain = realised.tflite(tiny_float, "w32_a32_float")
    assert half.weight_bytes["float16"] > 0.45 * plain.weight_bytes["float32"]
    inputs = [padded([3, 58, 4], 8)]
    assert tflite.run(tmp_path / "half", inputs) == pytest.approx(tflite.run(tiny_float, inputs), abs=0.02)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_the_file_holds_exactly_the_integers_that_were_chosen(
    granularity: str, tiny_float: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(tiny_float.read_bytes()))
    chosen, scales = {}, {}
    for name, one in graph.linears(module.load(tiny_checkpoint, LENGTHS)).items():
        # a scale of our own, which no row's extreme would give
        scale = faked.scales(one.weight, granularity) * 1.07
        rounded = rounding.stochastic(one.weight.detach(), scale, torch.Generator().manual_seed(3))
        chosen[name], scales[name] = (rounded / scale[:, None]).round().to(torch.int8).numpy(), scale.numpy()
        for sub in model.subgraphs:
            for tensor in sub.tensors:
                if tensor.name.decode().endswith(f"/{name}.weight"):
                    model.buffers[tensor.buffer].data = np.frombuffer(rounded.numpy().tobytes(), np.uint8)
    source = tmp_path / "source.tflite"
    source.write_bytes(lean.pack(model))
    for scheme in ("w8_a32_dynamic", "w8_a8_static"):
        out = tmp_path / scheme
        read = tensors(written(source, out, scheme, Quantization(weights=granularity), scales=scales))  # type: ignore[arg-type]
        buffers = flatbuffer_utils.read_model_from_bytearray(bytearray(out.read_bytes())).buffers
        for one in products(source):
            tensor = read[one.weight]
            held = np.frombuffer(bytes(buffers[tensor.buffer].data), np.int8).reshape(tensor.shape)
            assert np.array_equal(held, chosen[one.module])
            assert np.array(tensor.scales) == pytest.approx(scales[one.module], rel=1e-6)


def test_precisions_are_given_by_module(tiny_float: Path, tmp_path: Path) -> None:
    kept = {"classifier": "float", "bert.pooler.dense": "dynamic"}
    written(tiny_float, tmp_path / "x", "w8_a8_static", precisions=kept)
    counts = {
        (one.operator, one.precision): one.count
        for one in realised.tflite(tmp_path / "x", "w8_a8_static").operators
        if one.operator == "FULLY_CONNECTED"
    }
    assert counts["FULLY_CONNECTED", "int8-dynamic"] == 2
    assert counts["FULLY_CONNECTED", "int8"] == len(products(tiny_float)) - 4


def test_rows_that_cannot_be_cut_into_blocks_are_refused(tiny_float: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot be cut into blocks") as caught:
        written(tiny_float, tmp_path / "x", "w4_a32_dynamic", Quantization(block=32))
    assert "rows of 40" in str(caught.value.given)
    with pytest.raises(BuildError, match="no runtime turns weights in blocks to float"):
        written(tiny_float, tmp_path / "x", "w4_a32_weight", Quantization(block=32))
    assert not (tmp_path / "x").exists()


def test_rows_that_cannot_be_cut_are_told_before_anything_is_computed_in_blocks(
    tiny_models_of: dict[str, Path], tmp_path: Path
) -> None:
    loaded = checkpoint.load(tiny_models_of["bert"], ["a", "b"])
    layers = [Layer(one.heads, 48) for one in loaded.structure.layers]
    checkpoint.shape(loaded.family, loaded.module, layers, loaded.structure.head_size)
    for one in loaded.module.parameters():
        torch.nn.init.ones_(one)
    checkpoint.save(loaded, tmp_path / "model")
    asked = Quantization(block=32, bias_correction=True)
    texts, out = ("a", "b"), tmp_path / "x.tflite"
    job = Job(tmp_path / "model", "w4_a32_dynamic", (8,), texts, Calibration(samples=2), out, quantization=asked)
    with pytest.raises(BuildError, match="cannot be cut into blocks") as caught:
        prepare.prepare(job, module.load(tmp_path / "model", (8,)))
    assert "rows of 48" in str(caught.value.given)


def test_a_block_has_a_scale_of_its_own_and_a_shorter_row_is_one_block(relu: Path, tmp_path: Path) -> None:
    source = tmp_path / "float"
    tflite.export(module.load(relu, (8,)), (8,), source)
    inputs = [padded([3, 58, 4], 8), padded([3, 9, 33, 61, 20, 4], 8)]
    expected, errors = tflite.run(source, inputs), []
    for asked in (Quantization(), Quantization(block=32)):
        model = written(source, tmp_path / "x", "w4_a32_dynamic", asked)
        errors.append(np.abs(tflite.run(tmp_path / "x", inputs) - expected).max())
        for one in products(source):
            held = tensors(model)[one.weight]
            in_blocks = asked.block is not None and held.shape[1] > asked.block
            assert len(held.scales) == (0 if in_blocks else held.shape[0])
    # the scales of the blocks are tensors of their own, and they are the file's
    content = flatbuffer_utils.read_model_from_bytearray(bytearray((tmp_path / "x").read_bytes()))
    blocks = [
        (one, sub.tensors[one.quantization.details.scales])
        for sub in content.subgraphs
        for one in sub.tensors
        if one.quantization is not None and one.quantization.details is not None
    ]
    assert blocks
    for weight, scales in blocks:
        assert len(bytes(content.buffers[scales.buffer].data)) == 2 * weight.shape[0] * weight.shape[1] // 32
    assert errors[1] < errors[0], "an outlier spoils its own block alone"


@pytest.mark.parametrize(
    ("scheme", "asked"),
    [
        ("w8_a32_dynamic", Quantization()),
        ("w8_a32_weight", Quantization(weights="tensor")),
        ("w4_a32_dynamic", Quantization()),
        ("w4_a32_weight", Quantization(weights="tensor")),
        ("w4_a32_dynamic", Quantization(block=32)),
    ],
)
def test_the_imitated_weights_are_the_files(scheme: str, asked: Quantization, relu: Path, tmp_path: Path) -> None:
    """What bias correction and sensitivities are measured with is what the file holds."""
    source = tmp_path / "float"
    classifier = module.load(relu, (8,))
    linears = graph.linears(classifier)
    tflite.export(classifier, (8,), source)
    written(source, tmp_path / "x", scheme, asked)
    held = flatbuffer_utils.read_model_from_bytearray(bytearray((tmp_path / "x").read_bytes()))
    (sub,) = held.subgraphs
    by_name = {one.name.decode(): one for one in sub.tensors}
    for one in products(source):
        tensor = by_name[one.weight]
        data = np.frombuffer(bytes(held.buffers[tensor.buffer].data), np.int8)
        if scheme.startswith("w4"):
            # two a byte, the first in the low half
            data = np.stack([data << 4 >> 4, data >> 4], axis=1).ravel()
        whole = data.reshape(tensor.shape).astype(np.float32)
        if tensor.quantization.details is None:
            given = whole * np.array(tensor.quantization.scale, np.float32).reshape(-1, 1)
        else:
            scales = sub.tensors[tensor.quantization.details.scales]
            steps = np.frombuffer(bytes(held.buffers[scales.buffer].data), np.float16).astype(np.float32)
            given = (whole.reshape(len(whole), -1, 32) * steps.reshape(len(whole), -1, 1)).reshape(whole.shape)
        mine = faked.snapped_weight(linears[one.module].weight, Plan(scheme, asked)).detach().numpy()
        assert mine == pytest.approx(given, abs=1e-6)


def test_a_relu_goes_into_the_product_before_it_with_its_readers_range(
    relu: Path, words: Samples, tmp_path: Path
) -> None:
    out = tmp_path / "static"
    converted = convert.convert(
        relu,
        format="tflite",
        scheme="w8_a8_static",
        lengths=(8,),
        samples=words,
        calibration=Calibration(samples=32),
        out=out,
        seed=7,
        quantization=Quantization(mixed=Mixed(fidelity=0.0)),
    )
    by_module = {one.module: one for one in products(out)}
    up, down = (by_module[f"bert.encoder.layer.0.{one}.dense"] for one in ("intermediate", "output"))
    assert up.output == down.input, "nothing stands between them"
    # nothing below zero is left to be held
    assert tensors(flatbuffer.read(out))[up.output].zeros == (-128,)
    # with all products static, none spared; a range without the ReLU would lose a bit or more
    inputs = [padded([3, 58, 4], 8), padded([3, 9, 33, 61, 20, 4], 8)]
    with torch.inference_mode():
        loaded = module.load(relu, (8,))
        expected = np.concatenate([loaded(*map(torch.from_numpy, one.values())).numpy() for one in inputs])
    held = parity.compare(tflite.run(converted.file, inputs), expected, parity.Bounds(0.95, 1.0))
    assert held.min_cosine > 0.95


def test_products_that_read_one_tensor_must_agree_on_its_range(tiny_float: Path) -> None:
    modules = {one.module for one in products(tiny_float)}
    inputs = dict.fromkeys(modules, (-6.0, 10.0))
    inputs["bert.encoder.layer.0.attention.self.key"] = (-5.0, 10.0)
    outputs = dict.fromkeys(modules, (-6.0, 10.0))
    with pytest.raises(BuildError, match="different ranges"):
        quantize.quantize(tiny_float, Plan("w8_a8_static", inputs=inputs, outputs=outputs))
