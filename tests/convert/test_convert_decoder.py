"""A language model's file that generates: the same tokens as transformers, over the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytest.importorskip("transformers")

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

from edgekit.agent import tasks  # noqa: E402
from edgekit.agent.runtimes import litert  # noqa: E402
from edgekit.agent.spawn import Child, ChildFailed  # noqa: E402
from edgekit.convert import decoder, flatbuffer, module, parity, tflite  # noqa: E402
from edgekit.convert.job import Converted  # noqa: E402
from edgekit.errors import BuildError, DeviceError  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.spec.manifest import DECODE  # noqa: E402
from edgekit.spec.quantize import Generation  # noqa: E402
from edgekit.spec.wire import Generate, Generated  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def whole(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    return written(gpt2, "w32_a32_float", tmp_path_factory.mktemp("float") / "float.tflite")


@pytest.mark.slow
def test_greedy_output_is_transformers_own_for_200_tokens(whole: Converted, gpt2: Path) -> None:
    wanted = transformers_own(gpt2, PROMPT, 200)
    assert len(set(wanted)) > 20, "a text that stands still proves little"
    model = litert.generating(str(whole.file), 1)
    assert greedy(model, PROMPT, 200) == wanted
    assert greedy(model, PROMPT, 200) == wanted, "and again, over a cache that was used"


@pytest.mark.slow
def test_a_child_process_streams_what_it_writes(whole: Converted, gpt2: Path) -> None:
    model = tasks.Model("tflite", str(whole.file), str(gpt2 / "tokenizer.json"), LENGTHS)
    pieces: list[str] = []
    with Child(None) as child:

        def hear(message: str, fraction: float | None = None) -> None:
            if fraction is not None:
                pieces.append(message)

        task = tasks.Write(model, Generate("a cat and", 24))
        first, second = (child.ask("write", task, Generated, hear, 120.0) for _ in range(2))
        assert "".join(pieces) == first.text + second.text == 2 * first.text
        assert (first.reused, second.reused) == (0, first.prompt_tokens - 1)
        with pytest.raises(ChildFailed, match="longer than the model's context") as refused:
            child.ask("write", tasks.Write(model, Generate("never a word " * 300)), Generated, hear, 120.0)
        assert "window" in str(refused.value.remedy)
        assert child.alive, "it goes on with what it has read"


@pytest.mark.slow
def test_the_weights_of_all_entry_points_are_there_once(whole: Converted, gpt2: Path) -> None:
    assert [(one.name, one.kind, one.length) for one in whole.signatures] == [
        ("len8", "score", 8),
        ("decode", "decode", CONTEXT),
        ("prefill8", "prefill", 8),
    ]
    model = flatbuffer.read(whole.file)
    assert model.signatures[DECODE] == 0, "the board writes into the first one's inputs where they are"
    sizes = {one.buffer: one.size for graph in model.subgraphs for one in graph.tensors if one.constant}
    tables = 4 * sum(one.numel() for one in checkpoints.load(gpt2).module.parameters() if one.dim() == 2)
    # besides the matrices: masks, shapes, and biases, of which there are few
    assert tables <= sum(sizes.values()) < tables + 4096
    names = {one.name for one in next(each for each in whole.signatures if each.kind == DECODE).inputs}
    runner = set(litert.generating(str(whole.file), 1)._inputs)
    assert names == runner


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["w8_a32_dynamic", "w8_a8_static"])
def test_an_int8_file_generates_as_it_scores(scheme: str, whole: Converted, gpt2: Path, tmp_path: Path) -> None:
    done = written(gpt2, scheme, tmp_path / "model.tflite", whole.file)
    assert done.file.stat().st_size < 0.6 * whole.file.stat().st_size
    model, scorer = litert.generating(str(done.file), 1), litert.load(str(done.file), 1)
    model.feed(PROMPT[:3])
    for number, token in enumerate(PROMPT[3:7], 4):
        model.feed([token])
        scored = np.asarray(scorer.run(8, [*PROMPT[:number], *[0] * (8 - number)], [1] * number + [0] * (8 - number)))
        tokens, logits = model.likeliest(None)
        given = np.empty(len(tokens))
        given[tokens] = logits
        assert np.corrcoef(given, scored)[0, 1] > 0.99


@pytest.mark.slow
def test_parity_counts_what_is_generated_as_well(whole: Converted, gpt2: Path) -> None:
    asked = {"format": "tflite", "scheme": "w32_a32_float", "checkpoint": gpt2, "texts": TEXTS[:8], "lengths": LENGTHS}
    found = parity.check(whole, **asked)  # type: ignore[arg-type]
    scored = parity.check(Converted(whole.file, whole.signatures[:1], whole.realised, 0), **asked)  # type: ignore[arg-type]
    assert found.cases > scored.cases
    assert found.min_cosine >= 0.9999


@pytest.mark.slow
def test_a_file_that_only_scores_is_refused(tiny_gpt2_scores: Path) -> None:
    with pytest.raises(DeviceError, match="not made to generate") as refused:
        litert.generating(str(tiny_gpt2_scores), 1)
    assert "generation" in str(refused.value.remedy)


@pytest.fixture(scope="module")
def tiny_gpt2_scores(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(gpt2, "w32_a32_float", tmp_path_factory.mktemp("scores") / "x.tflite", generation=None).file


@pytest.mark.parametrize("form", ["ptl", "pte"])
def test_a_format_without_a_cache_is_refused(form: str, gpt2: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=f"{form} files do not generate"):
        written(gpt2, "w32_a32_float", tmp_path / f"x.{form}", form=form)
    assert not list(tmp_path.iterdir())


def test_a_context_longer_than_the_positions_is_refused(gpt2: Path) -> None:
    with pytest.raises(BuildError, match="longer than the model's positions") as refused:
        module.load(gpt2, LENGTHS, Generation(CONTEXT + 1))
    assert refused.value.where == "$.convert.generation.context"


def test_a_rolling_cache_of_keys_and_values_is_the_segment_recurrence(recurrent: Path) -> None:
    classifier = module.load(recurrent, LENGTHS, Generation(MEMORY, chunk=MEMORY))
    one = decoder.Decoder(classifier, MEMORY).eval()
    cache = one.sample(MEMORY)
    for piece, wanted in zip(PIECES, segments(recurrent, PIECES), strict=True):
        padded = torch.tensor([[*piece, *[0] * (MEMORY - len(piece))]], dtype=torch.int32)
        mask = (torch.arange(MEMORY)[None] < len(piece)).to(torch.int32)
        with torch.inference_mode():
            answer = one(**{**cache, "input_ids": padded, "attention_mask": mask})
        np.testing.assert_allclose(answer["logits"][0], wanted, rtol=1e-3, atol=1e-4)
        count, first = len(piece), 0
        cache["seen"] = torch.cat([cache["seen"], torch.ones(1, count)], 1)[:, -MEMORY:]
        for layer, (keys, values) in enumerate(zip(cache["keys"], cache["values"], strict=True)):
            own = slice(first, first + len(keys))
            first = own.stop
            new_keys = answer["new_keys"][own, :count].transpose(1, 2)
            cache["keys"][layer] = torch.cat([keys, new_keys], 2)[:, :, -MEMORY:]
            cache["values"][layer] = torch.cat([values, answer["new_values"][own, :count]], 1)[:, -MEMORY:]


@pytest.mark.slow
def test_the_board_reads_a_text_of_any_length_by_segments(recurrent: Path, tmp_path: Path) -> None:
    done = written(recurrent, "w32_a32_float", tmp_path / "xl.tflite", generation=Generation(MEMORY, chunk=5))
    model = litert.generating(str(done.file), 1)
    assert (model.rolls, model.context) == (True, MEMORY)
    for _ in range(2):
        model.keep(0)
        for piece, wanted in zip(PIECES, segments(recurrent, PIECES), strict=True):
            model.feed(piece)
            tokens, logits = model.likeliest(None)
            np.testing.assert_allclose(logits, wanted[tokens], rtol=1e-3, atol=1e-3)
    assert model.filled == sum(map(len, PIECES)) > 2 * MEMORY
    texts = [tuple(range(4, 12))]
    (given,) = decoder.each(tflite.entry_points(done.file), done.signatures, texts)
    wanted = segments(recurrent, [[4, 5, 6, 7], *([one] for one in range(8, 12))])
    np.testing.assert_allclose(given, np.stack(wanted), rtol=1e-3, atol=1e-3)
