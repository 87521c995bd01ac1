"""A language model's file that generates: the same tokens as transformers, over the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
transformers = pytest.importorskip("transformers")

import language_kit  # noqa: E402

from edgekit import compress, convert  # noqa: E402
from edgekit.agent import tasks  # noqa: E402
from edgekit.agent.runtimes import litert  # noqa: E402
from edgekit.agent.spawn import Child, ChildFailed  # noqa: E402
from edgekit.convert import decoder, flatbuffer, module, parity  # noqa: E402
from edgekit.convert.job import Converted  # noqa: E402
from edgekit.data.samples import Sample, Samples  # noqa: E402
from edgekit.errors import BuildError, DeviceError  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.spec.manifest import DECODE  # noqa: E402
from edgekit.spec.quantize import Calibration, Generation  # noqa: E402
from edgekit.spec.wire import Generate, Generated  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS, CONTEXT, MEMORY = (8,), 512, 6
WRITES = Generation(CONTEXT, chunk=8)
TEXTS = tuple(dict.fromkeys(language_kit.texts(60)))
PROMPT = (5, 77, 130, 9, 200, 31, 12, 8, 99, 150, 7)
SAMPLES = Samples(Path("unused"), (), "0" * 64, [Sample(one, 0) for one in TEXTS], [], [])


@pytest.fixture(scope="module")
def gpt2(tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, 512 positions, weights wide enough that its greedy text wanders."""
    out = tmp_path_factory.mktemp("gpt2")
    config = transformers.AutoConfig.from_pretrained(tiny_models_of["gpt2"])
    config.n_positions, config.n_layer, config.initializer_range = CONTEXT, 2, 0.3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        transformers.GPT2LMHeadModel(config).save_pretrained(out / "plain")
    (out / "plain" / "tokenizer.json").write_bytes((tiny_models_of["gpt2"] / "tokenizer.json").read_bytes())
    compress.adopt(out / "plain", out / "model")
    return out / "model"


@pytest.fixture(scope="module")
def whole(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    return written(gpt2, "w32_a32_float", tmp_path_factory.mktemp("float") / "float.tflite")


def written(
    folder: Path, scheme: str, out: Path, float_file: Path | None = None, generation: Generation | None = WRITES
) -> Converted:
    return convert.convert(
        folder,
        format="tflite",
        scheme=scheme,
        lengths=LENGTHS,
        samples=SAMPLES,
        calibration=Calibration(samples=32),
        out=out,
        seed=7,
        float_file=float_file,
        generation=generation,
    )


def greedy(model: Any, prompt: tuple[int, ...], count: int) -> list[int]:
    """By the board's own code."""
    model.keep(0)
    model.feed(prompt)
    found = []
    for _ in range(count):
        (token,), _ = model.likeliest(1)
        found.append(token)
        model.feed([token])
    return found


@pytest.mark.slow
def test_greedy_output_is_transformers_own_for_200_tokens(whole: Converted, gpt2: Path) -> None:
    plain = transformers.GPT2LMHeadModel.from_pretrained(gpt2.parent / "plain").eval()
    asked = torch.tensor([PROMPT])
    wanted = plain.generate(
        asked,
        attention_mask=torch.ones_like(asked),
        do_sample=False,
        max_new_tokens=200,
        eos_token_id=None,
        pad_token_id=0,
    )[0, len(PROMPT) :].tolist()
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


def test_a_context_longer_than_the_positions_is_refused(gpt2: Path) -> None:
    with pytest.raises(BuildError, match="longer than the model's positions") as refused:
        module.load(gpt2, LENGTHS, Generation(CONTEXT + 1))
    assert refused.value.where == "$.convert.generation.context"


@pytest.fixture(scope="module")
def recurrent(tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Transformer-XL of two layers."""
    out = tmp_path_factory.mktemp("recurrent") / "model"
    loaded = checkpoints.load(tiny_models_of["transformer-xl"], task="language")
    loaded.family.set_layers(loaded.module, list(loaded.family.layers(loaded.module))[:2])
    loaded.teacher_layers = (0, 1)
    checkpoints.save(loaded, out)
    return out


def segments(folder: Path, pieces: list[list[int]]) -> list[np.ndarray]:
    """The logits after each of a text's ``pieces``, by the segment recurrence itself: memories of hidden states."""
    model = checkpoints.load(folder).module.eval()
    model.config.memory_length = MEMORY
    mems, found = None, []
    with torch.inference_mode():
        for one in pieces:
            read = model(torch.tensor([one]), mems=mems)
            mems = read.mems
            found.append(read.logits[0, -1].numpy())
    return found


PIECES = [[3, 7, 9, 11], [13], [2], [20, 21, 22, 23, 24], [8], [4], [4], [9], [17], [30, 31], [12], [5]]


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
    (given,) = decoder.each(done.file, done.signatures, texts)
    wanted = segments(recurrent, [[4, 5, 6, 7], *([one] for one in range(8, 12))])
    np.testing.assert_allclose(given, np.stack(wanted), rtol=1e-3, atol=1e-3)
