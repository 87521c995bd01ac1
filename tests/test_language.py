"""A language model through the whole road on the host: recipe → texts → teacher → student → files → gates → bundle."""

from __future__ import annotations

import json
import math
from pathlib import Path

import language_kit
import pytest

torch = pytest.importorskip("torch")

from edgekit import pipeline  # noqa: E402
from edgekit.agent import tasks, work  # noqa: E402
from edgekit.bundle.verify import verify  # noqa: E402
from edgekit.compress import encoded, evaluate  # noqa: E402
from edgekit.data import samples as sampled  # noqa: E402
from edgekit.errors import BuildError, GateMissed  # noqa: E402
from edgekit.home import Home  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.outcome import Built  # noqa: E402
from edgekit.spec.manifest import Artifact  # noqa: E402
from edgekit.spec.progress import quiet  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_models_of: dict[str, Path]) -> Path:
    return language_kit.write(tmp_path_factory.mktemp("recipe"), tiny_models_of["gpt2"])


@pytest.fixture(scope="module")
def built(recipe: Path, home: Home) -> Built:
    return pipeline.build(recipe, home=home)


def loaded(built: Built, artifact: Artifact) -> tasks.Model:
    blobs = built.bundle / "blobs"
    file, tokenizer = (str(blobs / one.sha256) for one in (artifact.blob, artifact.tokenizer))
    return tasks.Model("tflite", file, tokenizer, artifact.lengths)


def test_the_bundle_says_how_perplexed_its_files_are(built: Built, home: Home) -> None:
    manifest, _ = verify(built.bundle, home.keys / "trusted")
    assert (manifest.task, manifest.labels) == ("language", ())
    optimized, baseline = manifest.optimized, manifest.baseline
    assert baseline is not None
    assert optimized.parameters < baseline.parameters
    assert optimized.perplexity is not None
    assert baseline.perplexity is not None
    assert baseline.perplexity < 30, "the chain goes on in two ways a word; untrained it is above 290"
    shipped = next(one for one in built.candidates if one.shipped)
    assert shipped.perplexity == optimized.perplexity
    assert shipped.perplexity_rise == pytest.approx(100 * (optimized.perplexity / baseline.perplexity - 1), abs=1e-3)
    assert [one.perplexity is not None for one in built.steps] == [True] * len(built.steps)


def test_the_agents_perplexity_of_the_float_file_is_torchs_own(built: Built, home: Home) -> None:
    (folder,) = (home.cache / "samples").iterdir()
    texts = sampled.read(folder).test
    (teacher,) = (home.cache / "stages").glob("1-finetune-*/checkpoint")
    own = checkpoints.load(teacher)
    wanted = evaluate.told(own.module, encoded.encode(texts, own, 16))
    baseline = built.manifest.baseline
    assert baseline is not None
    assert baseline.perplexity == pytest.approx(wanted.perplexity, rel=1e-3)
    assert baseline.accuracy == pytest.approx(wanted.accuracy, abs=0.5)
    assert baseline.accuracy_samples == len(texts)


def test_the_golden_cases_hold_and_a_text_is_gone_on_with(built: Built) -> None:
    artifact = built.manifest.optimized
    model = loaded(built, artifact)
    golden = built.bundle / "blobs" / built.manifest.golden.sha256
    health = work.check(tasks.Check(model, str(golden)), quiet)
    assert (health.ok, health.cases) == (True, 16), health.failure
    (answer,) = work.ask({}, tasks.Ask(model, ("the sun",), (), 4), quiet).predictions
    assert len(answer.scores) == 4
    probabilities = [one.probability for one in answer.scores]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0.3 < sum(probabilities) <= 1.0
    assert any(one.label.strip() in language_kit.WORDS for one in answer.scores), "tokens as they are written"
    assert answer.label < artifact.answers


def test_a_gate_on_perplexity_refuses_and_names_the_figure(recipe: Path, home: Home, built: Built) -> None:
    before = set(home.bundles.iterdir())
    with pytest.raises(GateMissed, match=r"perplexity rise -?[\d.]+ %, allowed -99 %") as caught:
        pipeline.build(recipe, home=home, overrides=["gates.perplexity_rise=-99"])
    assert "perplexity rise ≤ -99 %" in str(caught.value.allowed)
    assert set(home.bundles.iterdir()) == before


def test_the_same_recipe_gives_the_same_bundle(recipe: Path, home: Home, built: Built) -> None:
    again = pipeline.build(recipe, home=home)
    assert again.digest == built.digest
    assert len(again.reused) > len(built.reused)


def test_an_encoder_is_refused_before_anything_is_trained(
    tmp_path: Path, tiny_bert: Path, home: Home, built: Built
) -> None:
    file = language_kit.write(tmp_path, tiny_bert)
    before = {one.name for one in (home.cache / "stages").iterdir() if "finetune" in one.name}
    with pytest.raises(BuildError, match="sees the next token") as caught:
        pipeline.build(file, home=home)
    assert caught.value.exit_code == 3
    assert {one.name for one in (home.cache / "stages").iterdir() if "finetune" in one.name} == before


def test_held_out_texts_are_drawn_with_the_token_they_go_on_with(built: Built) -> None:
    rows = [
        json.loads(line) for line in (built.bundle / "blobs" / built.manifest.samples.sha256).read_text().splitlines()
    ]
    assert len(rows) == 60
    assert all(0 <= row["answer"] < built.manifest.optimized.answers for row in rows)
    assert math.isfinite(built.manifest.optimized.perplexity or math.nan)
