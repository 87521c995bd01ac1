"""A model that labels words as a file: logits of every token, and what they are worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokens_kit

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")

from edgekit import convert  # noqa: E402
from edgekit.convert import confidence, module, parity, tokens, torchscript  # noqa: E402
from edgekit.data.samples import Sample, Samples  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.spec.manifest import Artifact, Blob  # noqa: E402
from edgekit.spec.quantize import Calibration  # noqa: E402
from edgekit.spec.spans import Span  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (8, 16)
FAMILIES = ("albert", "bert", "distilbert", "gpt2", "roberta")


def saved(plain: Path, out: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        checkpoints.save(checkpoints.load(plain, tokens_kit.TAGS, "tokens"), out)
    return out


@pytest.mark.parametrize("family", FAMILIES)
def test_the_exported_module_gives_what_transformers_gives_at_every_real_token(
    family: str, tiny_models_of: dict[str, Path], tmp_path: Path
) -> None:
    model = saved(tiny_models_of[family], tmp_path / "model")
    loaded = checkpoints.load(model)
    ids = torch.tensor([[3, 7, 9, 11, 13, 2, 1, 1]], dtype=torch.int32)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0, 0]], dtype=torch.int32)
    with torch.inference_mode():
        given = module.load(model, LENGTHS)(ids, mask)
        wanted = loaded.module(ids[:, :6].long(), mask[:, :6].long()).logits
    assert given.shape == (1, 8, len(tokens_kit.TAGS))
    torch.testing.assert_close(given[:, :6], wanted, rtol=1e-4, atol=1e-4)


def test_a_file_gives_the_logits_of_real_tokens_and_its_words_are_judged_by_them(
    tiny_bert: Path, tmp_path: Path
) -> None:
    model = saved(tiny_bert, tmp_path / "model")
    texts = [Sample("sunny cat", 0, (Span(0, 5, "SKY"), Span(6, 9, "ANIMAL"))), Sample("a dog", 0)]
    texts += [Sample(f"{'x ' * number}dog", 0) for number in range(1, 4)]
    samples = Samples(Path("unused"), tokens_kit.TAGS, "0" * 64, texts, texts, texts, stated="tokens")
    done = convert.convert(
        model,
        format="ptl",
        scheme="w32_a32_float",
        lengths=LENGTHS,
        samples=samples,
        calibration=Calibration(samples=2),
        out=tmp_path / "model.ptl",
        seed=7,
    )
    assert [one.outputs[0].shape for one in done.signatures] == [(1, 8, 5), (1, 16, 5)]
    found = parity.check(
        done,
        format="ptl",
        scheme="w32_a32_float",
        checkpoint=model,
        texts=[one.text for one in texts],
        lengths=LENGTHS,
    )
    assert found.cases > len(texts), "each real token is a case"
    none = Blob("0" * 64, 1)
    made = Artifact(
        "words", "optimized", "ptl", "w32_a32_float", none, none, done.signatures, dynamic=True, tags=tokens_kit.TAGS
    )
    assert done.dynamic
    logits, truth = confidence.words(done.file, made, model, texts)
    # 'sunny' is five pieces, of which the first answers
    assert truth[:4] == [3, 1, 0, 0]
    assert len(truth) == 2 + 2 + 2 + 3 + 4
    fewer = confidence.words(done.file, replace(made, tags=tokens_kit.TAGS[:3]), model, texts)
    assert fewer[1] == [one for one in truth if one < 3], "a tag that the model does not know is no question to it"
    assert len(fewer[0]) == len(fewer[1]) < len(truth)
    whole = torchscript.run(done.file, [tokens.padded(tokens.tokenize(model, ["sunny cat"], 16)[0], 8)])
    places = [1, len(whole) - 2]
    np.testing.assert_allclose(logits[:2], whole[places], rtol=1e-4, atol=1e-5)
