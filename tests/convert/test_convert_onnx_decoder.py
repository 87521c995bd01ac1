"""A language model's ONNX graph that scores, reads and writes: the same tokens as transformers, weights once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("litert_torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from decoder_kit import (  # noqa: E402
    CONTEXT,
    LENGTHS,
    MEMORY,
    PIECES,
    PROMPT,
    TEXTS,
    greedy,
    segments,
    transformers_own,
    written,
)

from edgekit.agent.runtimes import generating  # noqa: E402
from edgekit.agent.runtimes import onnx as runtime  # noqa: E402
from edgekit.convert import parity  # noqa: E402
from edgekit.convert.job import Converted  # noqa: E402
from edgekit.errors import DeviceError  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.spec.quantize import Generation  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]
FLOAT = "w32_a32_float"


@pytest.fixture(scope="module")
def whole(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    return written(gpt2, FLOAT, tmp_path_factory.mktemp("float") / "float.onnx", form="onnx")


def test_greedy_output_is_transformers_own_for_200_tokens(whole: Converted, gpt2: Path) -> None:
    wanted = transformers_own(gpt2, PROMPT, 200)
    assert len(set(wanted)) > 20, "a text that stands still proves little"
    model = generating("onnx")(str(whole.file), 1)
    assert (model.context, model.rolls) == (CONTEXT, False)
    assert greedy(model, PROMPT, 200) == wanted
    assert greedy(model, PROMPT, 200) == wanted, "and again, over a cache that was used"
    model.keep(4)
    model.feed(PROMPT[4:])
    assert model.likeliest(1)[0] == wanted[:1], "what is kept is not read again"


def test_one_graph_scores_as_a_graph_that_only_scores(whole: Converted, gpt2: Path, tmp_path: Path) -> None:
    plain = written(gpt2, FLOAT, tmp_path / "scores.onnx", generation=None, form="onnx")
    for count in (1, 2, 8):
        ids, mask = list(PROMPT[:count]), [1] * count
        given, wanted = (runtime.load(str(one.file), 1).run(count, ids, mask) for one in (whole, plain))
        np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4)
        padded = runtime.load(str(whole.file), 1).run(8, ids + [0] * (8 - count), mask + [0] * (8 - count))
        np.testing.assert_allclose(padded, wanted, rtol=1e-4, atol=1e-4)
    told = [runtime.load(str(one.file), 1) for one in (whole, plain)]
    for one in told:
        one.run(8, list(PROMPT[:8]), [1] * 8)
    given, wanted = (one.told(PROMPT[:8]) for one in told)
    assert given
    assert wanted
    assert (given.hits, given.tokens) == (wanted.hits, wanted.tokens)
    assert given.nll == pytest.approx(wanted.nll, rel=1e-5)
    with pytest.raises(DeviceError, match="not made to generate") as refused:
        runtime.generating(str(plain.file), 1)
    assert "generation" in str(refused.value.remedy)


def test_the_weights_are_there_once_and_the_manifest_says_what_the_graph_takes(whole: Converted, gpt2: Path) -> None:
    assert [(one.name, one.kind, one.length) for one in whole.signatures] == [
        ("len8", "score", 8),
        ("decode", "decode", CONTEXT),
        ("prefill8", "prefill", 8),
    ]
    model = onnx.load(whole.file)
    names = [one.name for one in model.graph.input]
    assert all(sorted(one.name for one in each.inputs) == sorted(names) for each in whole.signatures)
    tables = 4 * sum(one.numel() for one in checkpoints.load(gpt2).module.parameters() if one.dim() == 2)
    stored = sum(len(one.raw_data) for one in model.graph.initializer)
    assert tables <= stored < tables + 8192, "besides the matrices, biases and norms, of which there are few"


@pytest.mark.parametrize("scheme", ["w8_a32_dynamic", "w8_a8_static", "w16_a32_float"])
def test_a_file_of_fewer_bits_generates_as_it_scores(scheme: str, whole: Converted, gpt2: Path, tmp_path: Path) -> None:
    done = written(gpt2, scheme, tmp_path / "model.onnx", whole.file, form="onnx")
    assert done.file.stat().st_size < 0.6 * whole.file.stat().st_size
    model, scorer = runtime.generating(str(done.file), 1), runtime.load(str(done.file), 1)
    model.feed(PROMPT[:3])
    for number, token in enumerate(PROMPT[3:7], 4):
        model.feed([token])
        scored = np.asarray(scorer.run(number, list(PROMPT[:number]), [1] * number))
        tokens, logits = model.likeliest(None)
        np.testing.assert_allclose(logits, scored[tokens], rtol=1e-2, atol=0.05 * float(np.abs(scored).max()))


def test_parity_counts_what_is_generated_as_well(whole: Converted, gpt2: Path) -> None:
    asked = {"format": "onnx", "scheme": FLOAT, "checkpoint": gpt2, "texts": TEXTS[:8], "lengths": LENGTHS}
    found = parity.check(whole, **asked)  # type: ignore[arg-type]
    scored = parity.check(
        Converted(whole.file, whole.signatures[:1], whole.realised, 0, dynamic=True),
        **asked,  # type: ignore[arg-type]
    )
    assert found.cases > scored.cases
    assert found.min_cosine >= 0.9999


def test_a_text_of_any_length_is_read_by_segments(recurrent: Path, tmp_path: Path) -> None:
    done = written(recurrent, FLOAT, tmp_path / "xl.onnx", generation=Generation(MEMORY, chunk=5), form="onnx")
    model = runtime.generating(str(done.file), 1)
    assert (model.rolls, model.context) == (True, MEMORY)
    for _ in range(2):
        model.keep(0)
        for piece, wanted in zip(PIECES, segments(recurrent, PIECES), strict=True):
            model.feed(piece)
            tokens, logits = model.likeliest(None)
            np.testing.assert_allclose(logits, wanted[tokens], rtol=1e-3, atol=1e-3)
    assert model.filled == sum(map(len, PIECES)) > 2 * MEMORY
