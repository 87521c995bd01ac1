"""The build, end to end, over a user's own data and checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pipeline_kit import RECIPE, write

from edgekit import bundle as bundles
from edgekit import pipeline
from edgekit.bundle.verify import verify
from edgekit.errors import BuildError, DataError, EdgekitError, GateMissed, SpecError, UsageError
from edgekit.home import Home
from edgekit.spec.windows import Windows

pytestmark = pytest.mark.torch
#: Without a board the host's clock chooses among candidates, and on a model this small it chooses by chance.
ONE = ["convert.schemes=[w8_a32_dynamic]"]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One home for all builds here, so that they share their stages."""
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    return write(tmp_path_factory.mktemp("recipe"), tiny_bert)


@pytest.mark.slow
def test_a_recipe_over_own_data_and_checkpoint_becomes_a_signed_bundle(home: Home, recipe: Path) -> None:
    built = pipeline.build(recipe, home=home)
    manifest, _ = verify(built.bundle, home.keys / "trusted")
    assert manifest == built.manifest
    optimized, baseline = manifest.optimized, manifest.baseline
    assert baseline is not None
    assert optimized.parameters < baseline.parameters
    assert optimized.blob.size < baseline.blob.size
    assert optimized.lengths == baseline.lengths == (8, 16)
    assert optimized.accuracy_samples == 60
    assert (baseline.accuracy or 0) > 60, "three classes told by one word each are learned"
    assert optimized.tokenizer != baseline.tokenizer, "the trimmed vocabulary has its own tokenizer"
    assert sum(one.shipped for one in built.candidates) == 1
    assert manifest.licences == {"model": "unknown: see the model's source"}
    assert baseline.sureness is None
    sure = optimized.sureness
    assert sure is not None
    assert (sure.temperature != 1.0, sure.unsure_below, sure.sure) == (True, 0.0, 100.0)
    assert sure.sure_accuracy == pytest.approx(optimized.accuracy, abs=1e-3)

    again = pipeline.build(recipe, home=home)
    assert again.digest == built.digest
    assert len(again.reused) > len(built.reused)


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_digest_from_nothing(home: Home, recipe: Path, tmp_path: Path) -> None:
    fresh = pipeline.build(recipe, home=Home(tmp_path), overrides=ONE)
    assert fresh.digest == pipeline.build(recipe, home=home, overrides=ONE).digest


@pytest.mark.slow
def test_a_killed_build_goes_on_from_its_last_finished_stage(home: Home, recipe: Path, tmp_path: Path) -> None:
    code = "import sys; from edgekit.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "build", str(recipe), "--home", str(tmp_path), "--json"]
    stages = tmp_path / "cache" / "stages"

    def finished() -> set[str]:
        return {one.name for one in stages.glob("*") if one.is_dir() and not one.name.endswith(".part")}

    for wanted in (1, 3, 5):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None and len(finished()) < wanted:
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not list((tmp_path / "bundles").glob("*"))
    before = finished()
    built = pipeline.build(recipe, home=Home(tmp_path), overrides=ONE)
    assert before <= finished()
    assert len(built.reused) >= 5
    assert built.digest == pipeline.build(recipe, home=home, overrides=ONE).digest


@pytest.mark.slow
def test_a_missed_gate_leaves_no_bundle(recipe: Path, home: Home) -> None:
    before = set(home.bundles.iterdir())
    with pytest.raises(GateMissed) as caught:
        pipeline.build(recipe, home=home, overrides=["gates.size_mb=0.001"])
    assert "tflite-w8_a32_dynamic" in str(caught.value)
    assert "allowed 0.001 MB" in str(caught.value)
    assert set(home.bundles.iterdir()) == before


@pytest.mark.slow
def test_unsure_answers_leave_better_ones(recipe: Path, home: Home) -> None:
    built = pipeline.build(recipe, home=home, overrides=["answers.sure_accuracy=97"])
    sure = built.manifest.optimized.sureness
    assert sure is not None
    assert 0 < sure.sure < 100
    assert 0 < sure.unsure_below < 1
    assert sure.sure_accuracy is not None
    assert sure.sure_accuracy > (built.manifest.optimized.accuracy or 0)


@pytest.mark.slow
def test_a_layer_the_model_lacks_is_refused(recipe: Path, home: Home) -> None:
    with pytest.raises(BuildError, match="layer") as caught:
        pipeline.build(recipe, home=home, overrides=["compress.2.distill.layers=[0, 7]"])
    assert "7" in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("", DataError, "empty"),
        ('{"text": "cat", "label": "animal"}\nnot json\n', DataError, "line 2"),
        (None, DataError, "mine.jsonl"),
    ],
)
def test_bad_data_is_refused(
    content: str | None, error: type[EdgekitError], said: str, tmp_path: Path, tiny_bert: Path, home: Home
) -> None:
    file = write(tmp_path, tiny_bert)
    data = tmp_path / "mine.jsonl"
    data.unlink()
    if content is not None:
        data.write_text(content)
    with pytest.raises(error) as caught:
        pipeline.build(file, home=home)
    assert said in str(caught.value).replace(":2", " line 2")
    assert caught.value.exit_code == 3


def test_a_class_with_one_sample_is_refused(tmp_path: Path, tiny_bert: Path, home: Home) -> None:
    file = write(tmp_path, tiny_bert)
    with (tmp_path / "mine.jsonl").open("a") as sink:
        sink.write('{"text": "only one", "label": "lonely"}\n')
    with pytest.raises(DataError, match="lonely"):
        pipeline.build(file, home=home)


def test_a_gate_on_the_board_needs_a_board(tmp_path: Path, tiny_bert: Path, home: Home) -> None:
    file = write(tmp_path, tiny_bert, RECIPE.replace("accuracy_drop: 60", "latency_ms: 5"))
    with pytest.raises(UsageError, match="on a board"):
        pipeline.build(file, home=home)


def test_an_unknown_key_names_file_line_and_the_nearest(tmp_path: Path, tiny_bert: Path, home: Home) -> None:
    file = write(tmp_path, tiny_bert, RECIPE.replace("epochs: 4", "epoks: 4"))
    with pytest.raises(SpecError) as caught:
        pipeline.build(file, home=home)
    assert "mine.yaml:10" in str(caught.value)
    assert "'epochs'" in str(caught.value)


@pytest.mark.slow
def test_long_texts_are_read_in_windows_wherever_they_are_answered(home: Home, recipe: Path, tmp_path: Path) -> None:
    import numpy as np

    from edgekit.convert import confidence

    asked = [*ONE, "data.lengths=[8]", "data.windows.overlap=1", "gates.accuracy_drop=100"]
    built = pipeline.build(recipe, overrides=asked, home=home)
    artifact = built.manifest.optimized
    assert (artifact.lengths, artifact.windows) == ((8,), Windows(overlap=1))
    samples, tokenizer, file = (
        bundles.blob_file(built.bundle, one) for one in (built.manifest.samples, artifact.tokenizer, artifact.blob)
    )
    (tmp_path / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    held = [json.loads(line) for line in samples.read_text().splitlines()]
    texts, truth = [one["text"] for one in held], [one["label"] for one in held]

    def right(windows: Windows | None) -> float:
        found = confidence.logits(file, replace(artifact, windows=windows), tmp_path, texts)
        return 100 * float((found.argmax(axis=1) == np.asarray(truth)).mean())

    assert artifact.accuracy == pytest.approx(right(artifact.windows)), "the agent and the calibration read alike"
    assert right(artifact.windows) != right(None), "there are texts of several windows"
