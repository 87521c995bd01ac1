"""The stages of a build, one at a time, over a user's own data and checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pipeline_kit import KINDS, RECIPE, write

from edgekit import load
from edgekit.building import Builder
from edgekit.errors import BuildError, MissingExtra, SpecError
from edgekit.home import Home
from edgekit.outcome import Candidate

pytestmark = pytest.mark.torch
LABELS = tuple(sorted(KINDS))
#: The recipe without its steps: the checkpoint is taken as it is.
PLAIN = RECIPE[: RECIPE.index("compress:")] + RECIPE[RECIPE.index("convert:") :]


def builder(folder: Path, bert: Path, recipe: str = PLAIN, overrides: tuple[str, ...] = (), **more: Any) -> Builder:
    file = write(folder / "recipe", bert, recipe)
    return Builder(load.recipe(file, overrides), file.parent, Home(folder / "home"), **more)


@pytest.fixture
def trained(tiny_bert: Path, tmp_path: Path) -> Path:
    """A checkpoint that knows the classes, in another order than sorted."""
    from edgekit.models import checkpoint

    checkpoint.save(checkpoint.load(tiny_bert, LABELS[::-1]), tmp_path / "trained")
    return tmp_path / "trained"


def test_a_trained_checkpoint_keeps_its_order_of_labels(trained: Path, tmp_path: Path) -> None:
    build = builder(tmp_path, trained)
    with pytest.raises(BuildError, match="another order") as caught:
        build.compress(build.model(samples := build.samples()), samples)
    assert ", ".join(LABELS) in str(caught.value)
    assert f"data.labels: [{', '.join(LABELS[::-1])}]" in str(caught.value)

    turned = builder(tmp_path, trained, overrides=(f"data.labels=[{', '.join(LABELS[::-1])}]",))
    model = turned.model(turned.samples())
    assert turned.compress(model, turned.samples()) == (model, model)


@pytest.mark.parametrize("steps", ["", "compress: [vocabulary: {}]\n"])
def test_a_model_without_a_classifier_needs_finetuning_first(steps: str, tiny_bert: Path, tmp_path: Path) -> None:
    build = builder(tmp_path, tiny_bert, PLAIN + steps)
    with pytest.raises(BuildError, match="no classifier") as caught:
        build.compress(build.model(samples := build.samples()), samples)
    assert "finetune" in str(caught.value)


def test_a_bucket_beyond_the_models_positions_is_refused_before_training(tiny_bert: Path, tmp_path: Path) -> None:
    assert builder(tmp_path, tiny_bert, overrides=("data.lengths=[8, 32]",)).model(None)
    with pytest.raises(BuildError, match="positions") as caught:
        builder(tmp_path, tiny_bert, overrides=("data.lengths=[8, 33]",)).model(None)
    assert (caught.value.given, caught.value.allowed) == (33, "up to 32 tokens")


@pytest.mark.parametrize(
    ("labels", "said"), [(None, "no safetensors file"), (("animal", "food"), "knows other labels")]
)
def test_a_folder_that_cannot_teach_is_refused_before_anything_is_trained(
    labels: tuple[str, ...] | None, said: str, tiny_bert: Path, tmp_path: Path
) -> None:
    from edgekit.models import checkpoint

    if labels is not None:
        checkpoint.save(checkpoint.load(tiny_bert, labels), tmp_path / "other")
    steps = "compress: [finetune: {epochs: 1}, distill: {layers: [0], teachers: [../other]}]\n"
    told: list[str] = []
    build = builder(tmp_path, tiny_bert, PLAIN + steps, report=lambda message, done=None: told.append(message))
    samples = build.samples()
    model = build.model(samples)
    with pytest.raises(BuildError, match=said) as caught:
        build.compress(model, samples)
    assert "other" in str(caught.value)
    assert not [one for one in told if "epoch" in one]


def test_too_few_texts_to_calibrate_on_are_told_before_anything_is_trained(tiny_bert: Path, tmp_path: Path) -> None:
    steps = "compress: [finetune: {epochs: 1}]\n"
    asked = ("convert.schemes=[w8_a8_static]", "convert.calibration.samples=5000")
    told: list[str] = []
    build = builder(tmp_path, tiny_bert, PLAIN + steps, asked, report=lambda message, done=None: told.append(message))
    samples = build.samples()
    model = build.model(samples)
    with pytest.raises(BuildError, match="too few training texts to calibrate w8_a8_static on") as caught:
        build.compress(model, samples)
    assert caught.value.allowed == f"2 to {len(samples.train)}"
    assert not [one for one in told if "epoch" in one]


def test_what_starts_from_a_failed_file_fails_with_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, scheme: str, **__: Any) -> None:
        assert scheme == "w32_a32_float", "nothing is quantized from a file that is not there"
        raise BuildError("made to fail")

    monkeypatch.setattr("edgekit.convert.convert", fails)
    build = builder(tmp_path, trained)
    found = build.candidates(build.model(samples := build.samples()), samples)
    assert all(isinstance(one, Candidate) for one in found)
    assert [one.failure for one in found if isinstance(one, Candidate)] == [
        "made to fail",
        "tflite-w32_a32_float, which it starts from, failed: made to fail",
    ]


def test_two_builds_of_one_recipe_prepare_the_same_samples(trained: Path, tmp_path: Path) -> None:
    """The second one runs when the first has written its samples and not yet named them."""
    others: list[Any] = []

    def meanwhile(message: str, fraction: float | None = None) -> None:
        if fraction == 1.0:
            others.append(builder(tmp_path, trained).samples())

    mine = builder(tmp_path, trained, report=meanwhile).samples()
    assert others == [mine]
    assert [one.name for one in (tmp_path / "home" / "cache" / "samples").iterdir()] == [mine.digest[:24]]


def test_an_evaluation_leaves_no_agent_behind(trained: Path, tmp_path: Path) -> None:
    build = builder(tmp_path, trained, overrides=("convert.schemes=[w32_a32_float]",))
    samples = build.samples()
    model = build.model(samples)
    (made,) = build.candidates(model, samples)
    assert not isinstance(made, Candidate), made.failure
    assert made.artifact.accuracy_samples == 60
    left = {one.name for one in (tmp_path / "home" / "cache").iterdir()}
    assert not [one for one in left if "host" in one]


def test_a_candidate_that_no_board_of_the_target_holds_is_told_before_it_is_measured(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit.convert.footprint.estimate", lambda *_: 2 << 30)
    asked = (f"data.labels=[{', '.join(LABELS[::-1])}]", "convert.schemes=[w32_a32_float]")
    build = builder(tmp_path, trained, overrides=asked, target=load.target("rpi4"))
    samples = build.samples()
    (found,) = build.candidates(build.model(samples), samples)
    assert isinstance(found, Candidate)
    assert "the board has 1024 MB in all" in (found.failure or "")
    assert found.memory == 2 << 30
    assert not list((tmp_path / "home" / "cache" / "stages").glob("evaluate-*"))


def test_a_packages_model_and_its_licence(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = "toy_model-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "toy_model-1.0-py3-none-any.whl", "w") as archive:
        for file in trained.iterdir():
            archive.write(file, f"toy_model/model/{file.name}")
        archive.writestr(info + "/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\nLicense: MIT\n")
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(info + "/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    build = builder(tmp_path, trained, PLAIN.replace("{path: bert}", "{package: toy-model==1.0}"))
    found = build.model(None)
    assert found.folder.parent == tmp_path / "home" / "cache" / "models"
    assert build.licences == {"model": "MIT"}


def test_without_torch_a_recipe_without_steps_names_the_extra(trained: Path, tmp_path: Path) -> None:
    recipe = PLAIN.replace("lengths: [8, 16]", f"lengths: [8, 16]\n  labels: {list(LABELS[::-1])}")
    file = write(tmp_path / "recipe", trained, recipe)
    code = "import sys; sys.modules['torch'] = None\nfrom edgekit.cli.main import main\nsys.exit(main())"
    command = [sys.executable, "-c", code, "build", str(file), "--home", str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == MissingExtra("torch", "host").exit_code, done.stderr
    assert "pip install 'edgekit[host]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_texts_choose_the_buckets_and_the_tokenizer_is_prepared_for_them(trained: Path, tmp_path: Path) -> None:
    labels = f"data.labels=[{', '.join(LABELS[::-1])}]"
    asked = (labels, "data.buckets=3", "data.lengths=[32]", "data.truncation_side=left")
    build = builder(tmp_path, trained, overrides=asked)
    samples = build.samples()
    model = build.model(samples)
    assert len(build.lengths) <= 3
    assert build.lengths[-1] == 32
    even = build.lengths != (32,) and max(build.lengths[:-1]) < 32
    assert even, "the texts are short: one bucket would pad them all"
    truncation = json.loads((model.folder / "tokenizer.json").read_text())["truncation"]
    assert truncation["direction"] == "Left"
    assert build.model(samples) == model
    assert builder(tmp_path, trained, overrides=(labels,)).model(samples).key != model.key


def test_a_search_wants_its_lengths_named(tiny_bert: Path, tmp_path: Path) -> None:
    search = "search:\n  trials: 2\n  ranges:\n    - {path: seed, choices: [1, 2]}\n"
    with pytest.raises(SpecError, match="known beforehand") as caught:
        builder(tmp_path, tiny_bert, PLAIN + search, overrides=("data.buckets=3",))
    assert caught.value.where is not None
    assert "data.buckets" in caught.value.where
