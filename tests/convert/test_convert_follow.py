"""A classifier's file that follows a stream: as its own module answers all that was said so far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")

from decoder_kit import SAMPLES, TEXTS  # noqa: E402

from edgekit import convert  # noqa: E402
from edgekit.agent import follow, tasks  # noqa: E402
from edgekit.agent.pipeline import Tokenizer  # noqa: E402
from edgekit.convert import parity  # noqa: E402
from edgekit.convert.job import Converted  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint, folder  # noqa: E402
from edgekit.models.families import FAMILIES  # noqa: E402
from edgekit.spec.quantize import Calibration, Generation  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]
LABELS = ("animal", "weather", "motion")
#: A piece is read at once: within it the module's own memory does not move.
CONTEXT, CHUNK = 16, 12
PIECES = ("a cat and a dog", "sun", "never a sunny word", "dogs run", "the cat runs in the rain", "rain and rain")


@pytest.fixture(scope="module", params=["gpt2", "transformer-xl"])
def model(
    request: pytest.FixtureRequest, tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    loaded = checkpoint.load(tiny_models_of[request.param], list(LABELS))
    loaded.family.set_layers(loaded.module, list(loaded.family.layers(loaded.module))[:2])
    loaded.teacher_layers = (0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for name, one in loaded.module.named_parameters():
            if "norm" not in name and "ln_" not in name:
                torch.nn.init.normal_(one, std=0.3)
    out = tmp_path_factory.mktemp("follows") / request.param
    checkpoint.save(loaded, out)
    return out


def written(model: Path, scheme: str, out: Path, float_file: Path | None = None) -> Converted:
    return convert.convert(
        model,
        format="tflite",
        scheme=scheme,
        lengths=(8,),
        samples=SAMPLES,
        calibration=Calibration(samples=32),
        out=out,
        seed=7,
        float_file=float_file,
        generation=Generation(CONTEXT, chunk=CHUNK),
    )


def expected(model: Path, pieces: list[list[int]]) -> np.ndarray:
    """The logits after each piece by the checkpoint's own module: over all tokens so far, or with its own memory of
    hidden states."""
    loaded = checkpoint.load(model)
    module, found = loaded.module.eval(), []
    with torch.inference_mode():
        if loaded.module.config.model_type == "transformer-xl":
            module.config.memory_length = CONTEXT
            mems = None
            for piece in pieces:
                read = module(torch.tensor([piece]), mems=mems)
                mems = read.mems
                found.append(read.logits[0].numpy())
        else:
            said: list[int] = []
            for piece in pieces:
                said += piece
                found.append(module(torch.tensor([said])).logits[0].numpy())
    return np.stack(found)


def test_its_answers_are_those_of_the_module_over_all_that_was_said(model: Path, tmp_path: Path) -> None:
    done = written(model, "w32_a32_float", tmp_path / "float.tflite")
    followed = parity.check(
        done, format="tflite", scheme="w32_a32_float", checkpoint=model, texts=list(TEXTS), lengths=(8,)
    )
    assert followed.min_cosine > 0.9999
    tokenizer = str(model / "tokenizer.json")
    ids = [list(Tokenizer(tokenizer, None)(one).ids) for one in PIECES]
    if "gpt2" in model.name:  # up to its context; beyond, the newest half is read again
        ids = ids[: next(n for n in range(len(ids), 0, -1) if sum(map(len, ids[:n])) <= CONTEXT)]
        assert len(ids) > 1
    wanted = expected(model, ids)
    asked = tasks.Model("tflite", str(done.file), tokenizer, (8,))
    follower, read = follow.load(asked), 0
    for text, piece, logits in zip(PIECES, ids, wanted, strict=False):
        follower.follow(tasks.Follow(asked, "other", "a dog", LABELS, 3))
        found = follower.follow(tasks.Follow(asked, "mine", text, LABELS, 3, after=read))
        read += len(piece)
        chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        given = {one.label: one.probability for one in found.scores}
        np.testing.assert_allclose([given[one] for one in LABELS], chances, atol=2e-3)
        assert found.read == read
    assert len({one.tobytes() for one in wanted}) == len(ids), "each text changes the answer"
    quick = written(model, "w8_a32_dynamic", tmp_path / "quick.tflite", done.file)
    assert parity.check(
        quick, format="tflite", scheme="w8_a32_dynamic", checkpoint=model, texts=list(TEXTS), lengths=(8,)
    ).cases


def test_a_model_that_looks_both_ways_is_refused_before_it_is_exported(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="look both ways") as caught:
        written(tiny_checkpoint, "w32_a32_float", tmp_path / "bert.tflite")
    assert caught.value.given == "bert"
    assert sorted(folder.LOOK_BACK) == sorted(name for name, one in FAMILIES.items() if one.causal)
