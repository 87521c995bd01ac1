from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

import numpy as np
from safetensors.torch import load_file, save_file

from edgekit import convert
from edgekit.convert import flatbuffer, graph, module, names, parity, quantize, tflite
from edgekit.convert.tokens import padded
from edgekit.data.samples import Samples
from edgekit.errors import BuildError
from edgekit.spec.quantize import Calibration

pytestmark = [pytest.mark.torch, pytest.mark.slow]
LENGTHS = (8, 16)
CALIBRATION = Calibration(samples=32)


def made(
    folder: Path, samples: Samples, out: Path, scheme: str, source: Path | None, **changed: object
) -> convert.Converted:
    asked: dict[str, object] = {"format": "tflite", "lengths": LENGTHS, "calibration": CALIBRATION, "seed": 7}
    return convert.convert(folder, scheme=scheme, samples=samples, out=out, float_file=source, **(asked | changed))  # type: ignore[arg-type]


def counted(converted: convert.Converted) -> Counter[tuple[str, str]]:
    return Counter({(one.operator, one.precision): one.count for one in converted.realised.operators})


def test_signatures_are_what_the_device_expects(tiny_float: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(tiny_float))
    assert sorted(interpreter.get_signature_list()) == ["len16", "len8"]
    runner = interpreter.get_signature_runner("len8")
    inputs = {name: (one["dtype"], tuple(one["shape"])) for name, one in runner.get_input_details().items()}
    outputs = {name: (one["dtype"], tuple(one["shape"])) for name, one in runner.get_output_details().items()}
    assert inputs == {"input_ids": (np.int32, (1, 8)), "attention_mask": (np.int32, (1, 8))}
    assert outputs == {"logits": (np.float32, (1, 3))}


def test_signatures_share_their_weights(tiny_float: Path) -> None:
    model = flatbuffer.read(tiny_float)
    tables = [
        {
            graph.tensors[one].buffer
            for operator in graph.operators
            if operator.kind == "EMBEDDING_LOOKUP"
            for one in operator.inputs
        }
        for graph in model.subgraphs
    ]
    assert len(tables) == 2
    assert tables[0] & tables[1] - {0}


def test_padding_changes_nothing(tiny_float: Path) -> None:
    short, long = tflite.run(tiny_float, [padded([3, 58, 4], 8), padded([3, 58, 4], 16)])
    assert short == pytest.approx(long, abs=1e-5)


def test_float_answers_as_the_module_does(tiny_checkpoint: Path, tiny_float: Path) -> None:
    import torch

    inputs, loaded = padded([3, 58, 4], 8), module.load(tiny_checkpoint, LENGTHS)
    with torch.inference_mode():
        expected = loaded(*(torch.from_numpy(one) for one in inputs.values())).numpy()
    assert tflite.run(tiny_float, [inputs]) == pytest.approx(expected, abs=1e-4)


def test_no_constant_is_large_enough_to_ruin_a_range(tiny_float: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(tiny_float),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.get_signature_runner("len8")(**padded([3, 58, 4], 8))
    graph = flatbuffer.read(tiny_float).subgraph("len8")
    values = [interpreter.get_tensor(n, graph.index) for n, one in enumerate(graph.tensors) if one.dtype == "float32"]
    assert max(float(np.abs(one).max()) for one in values) < 1000


@pytest.mark.parametrize("scheme", ["w8_a32_weight", "w8_a32_dynamic", "w8_a8_static"])
def test_every_int8_scheme_is_written_and_keeps_parity(
    scheme: str, tiny_checkpoint: Path, tiny_float: Path, words: Samples, tmp_path: Path
) -> None:
    out = tmp_path / "model.tflite"
    converted = made(tiny_checkpoint, words, out, scheme, tiny_float)
    texts = [one.text for one in words.test]
    held = parity.check(
        converted, format="tflite", scheme=scheme, checkpoint=tiny_checkpoint, texts=texts, lengths=LENGTHS
    )
    assert held.cases >= len(texts)
    assert held.min_cosine >= held.required_cosine == parity.BOUNDS[scheme].cosine
    assert [one.name for one in converted.signatures] == ["len8", "len16"]
    assert list(tmp_path.iterdir()) == [out]


def test_each_scheme_realises_its_precision(
    tiny_checkpoint: Path, tiny_float: Path, words: Samples, tmp_path: Path
) -> None:
    products = {}
    for scheme, precision in (
        ("w8_a32_weight", "int8-weights"),
        ("w8_a32_dynamic", "int8-dynamic"),
        ("w8_a8_static", "int8"),
    ):
        converted = made(tiny_checkpoint, words, tmp_path / scheme, scheme, tiny_float)
        found = counted(converted)
        products[scheme] = found["FULLY_CONNECTED", precision]
        # words and positions in two signatures; the one product of two activations in each has no weights
        assert found["EMBEDDING_LOOKUP", "int8-weights"] == 4
        assert found["FULLY_CONNECTED", "float32"] == 2
        assert converted.realised.weight_bytes["int8"] > 10_000
        assert converted.parameters == sum(
            one.numel() for one in load_file(tiny_checkpoint / "model.safetensors").values()
        )
        told = " ".join(converted.realised.fallbacks)
        assert ("SOFTMAX in float32" in told) == (scheme != "w8_a32_weight")
    # every product of the module, in two signatures; a spared one is dynamic
    every = 2 * len(graph.linears(module.load(tiny_checkpoint, LENGTHS)))
    assert products["w8_a32_weight"] == products["w8_a32_dynamic"] == every
    assert every / 2 <= products["w8_a8_static"] <= every


def test_weights_are_counted_once_and_all(tiny_float: Path, tiny_checkpoint: Path) -> None:
    from edgekit.convert import realised

    sizes = realised.tflite(tiny_float, "w32_a32_float").weight_bytes
    assert sum(sizes.values()) < tiny_float.stat().st_size
    parameters = module.parameters(module.load(tiny_checkpoint, LENGTHS))
    # the position table is folded to the rows in use
    assert 0.7 * 4 * parameters < sizes["float32"] < 1.3 * 4 * parameters


def test_two_conversions_give_the_same_bytes(
    tiny_checkpoint: Path, tiny_float: Path, words: Samples, tmp_path: Path
) -> None:
    again = made(tiny_checkpoint, words, tmp_path / "again.tflite", "w32_a32_float", None)
    assert again.file.read_bytes() == tiny_float.read_bytes()
    assert again.realised.fallbacks == ()
    parity.check(
        again, format="tflite", scheme="w32_a32_float", checkpoint=tiny_checkpoint, texts=["sunny cat"], lengths=LENGTHS
    )
    for scheme in ("w8_a32_dynamic", "w8_a8_static"):
        files = [made(tiny_checkpoint, words, tmp_path / f"{n}.tflite", scheme, tiny_float).file for n in range(2)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_broken_file_fails_parity_by_name(
    tiny_checkpoint: Path, tiny_float: Path, words: Samples, tmp_path: Path
) -> None:
    good = made(tiny_checkpoint, words, tmp_path / "model.tflite", "w8_a8_static", tiny_float)
    modules = {one.module for found in names.products(flatbuffer.read(tiny_float)).values() for one in found}
    # every range the same and far too narrow: what a wrong calibration would do
    narrow = dict.fromkeys(modules, (-0.01, 0.01))
    with module.hushed():
        good.file.write_bytes(
            quantize.quantize(tiny_float, quantize.Plan("w8_a8_static", inputs=narrow, outputs=narrow))
        )
    with pytest.raises(BuildError, match=r"tflite/w8_a8_static strays .* at least 0.9") as caught:
        parity.check(
            good,
            format="tflite",
            scheme="w8_a8_static",
            checkpoint=tiny_checkpoint,
            texts=[one.text for one in words.test],
            lengths=LENGTHS,
        )
    assert caught.value.given is not None
    assert caught.value.where == "tflite/w8_a8_static"


def test_too_few_training_texts_are_refused(tiny_checkpoint: Path, words: Samples, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="too few training texts") as caught:
        made(tiny_checkpoint, words, tmp_path / "x", "w8_a8_static", None, calibration=Calibration(samples=65))
    assert "65 asked, 64 there" in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_a_scheme_the_format_cannot_hold_is_refused(tiny_checkpoint: Path, words: Samples, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot hold") as caught:
        made(tiny_checkpoint, words, tmp_path / "x", "w8_a8_static", None, format="ptl")
    assert caught.value.where == "ptl/w8_a8_static"
    with pytest.raises(BuildError, match="nothing writes this format"):
        made(tiny_checkpoint, words, tmp_path / "x", "w32_a32_float", None, format="zip")


def test_a_length_beyond_the_positions_is_refused(tiny_checkpoint: Path, words: Samples, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="longer than the model's positions") as caught:
        made(tiny_checkpoint, words, tmp_path / "x", "w32_a32_float", None, lengths=(8, 64))
    assert (caught.value.given, caught.value.allowed) == (64, "up to 32")


def test_a_weight_that_is_not_finite_is_refused(tiny_checkpoint: Path, words: Samples, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, broken)
    weights = load_file(broken / "model.safetensors")
    name = "bert.encoder.layer.1.output.dense.weight"
    weights[name][0, 0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BuildError, match="not finite") as caught:
        made(broken, words, tmp_path / "x", "w32_a32_float", None)
    assert caught.value.given is not None
    assert str(caught.value.given).endswith(name)


def test_what_is_no_flatbuffer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"not a model at all")
    with pytest.raises(BuildError, match="not a TFLite file"):
        flatbuffer.read(tmp_path / "x")
