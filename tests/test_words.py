"""A model that labels words through the whole road on the host: recipe → spans → teacher → files → gates → bundle →
service."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import tokens_kit

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytest.importorskip("onnxruntime")

import edgekit  # noqa: E402
from edgekit import evaluating, pipeline  # noqa: E402
from edgekit.agent import tasks, work  # noqa: E402
from edgekit.bundle.verify import verify  # noqa: E402
from edgekit.cli import main  # noqa: E402
from edgekit.data import samples as sampled  # noqa: E402
from edgekit.errors import BuildError, GateMissed, UsageError  # noqa: E402
from edgekit.home import Home  # noqa: E402
from edgekit.outcome import Built  # noqa: E402
from edgekit.spec.manifest import Artifact  # noqa: E402
from edgekit.spec.progress import quiet  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    return tokens_kit.write(tmp_path_factory.mktemp("recipe"), tiny_bert)


@pytest.fixture(scope="module")
def built(recipe: Path, home: Home) -> Built:
    return pipeline.build(recipe, home=home)


def model(built: Built, artifact: Artifact) -> tasks.Model:
    file, tokenizer = (str(built.bundle / "blobs" / one.sha256) for one in (artifact.blob, artifact.tokenizer))
    return tasks.Model(
        artifact.format, file, tokenizer, artifact.lengths, dynamic=artifact.dynamic, task="tokens", tags=artifact.tags
    )


def test_the_bundle_says_how_well_spans_are_found(built: Built, home: Home) -> None:
    manifest, _ = verify(built.bundle, home.keys / "trusted")
    assert (manifest.task, manifest.labels) == ("tokens", tokens_kit.TAGS)
    optimized, baseline = manifest.optimized, manifest.baseline
    assert baseline is not None
    assert optimized.tags == baseline.tags == tokens_kit.TAGS
    assert baseline.f1 is not None
    assert baseline.f1 > 40, "nobody guesses both ends of a span and its label"
    for one in built.candidates:
        assert one.failure is None
        assert one.f1 is not None
        assert one.f1_drop == pytest.approx(baseline.f1 - one.f1, abs=1e-3)
    assert {one.format for one in built.candidates} == {"tflite", "onnx"}
    assert optimized.sureness is not None
    assert optimized.sureness.unsure_below == 0.6


def test_the_figures_are_those_of_the_files_own_answers(built: Built, home: Home) -> None:
    (folder,) = (home.cache / "samples").iterdir()
    texts = sampled.read(folder).test
    artifact = built.manifest.optimized
    loaded = model(built, artifact)
    answers = work.ask({}, tasks.Ask(loaded, tuple(one.text for one in texts), artifact.tags, 1), quiet).predictions
    right = given = wanted = 0
    for one, sample in zip(answers, texts, strict=True):
        assert one.spans is not None
        ours = {(each.start, each.end, each.label) for each in one.spans}
        theirs = {(each.start, each.end, each.label) for each in sample.spans}
        right, given, wanted = right + len(ours & theirs), given + len(ours), wanted + len(theirs)
    assert artifact.f1 == pytest.approx(200 * right / (given + wanted), abs=1e-3)
    plain = [tuple(evaluating.Span(each.start, each.end, each.label) for each in one.spans or ()) for one in answers]
    counts = evaluating.spanned(plain, texts, Path(loaded.tokenizer))
    assert artifact.accuracy == pytest.approx(counts.accuracy, abs=1e-3)


def test_the_golden_cases_hold_span_by_span(built: Built) -> None:
    golden = built.bundle / "blobs" / built.manifest.golden.sha256
    health = work.check(tasks.Check(model(built, built.manifest.optimized), str(golden)), quiet)
    assert (health.ok, health.cases) == (True, 16), health.failure
    assert '"label":' in golden.read_text()


def test_a_gate_on_f1_refuses_and_names_the_figure(recipe: Path, home: Home, built: Built) -> None:
    with pytest.raises(GateMissed, match=r"F1 drop -?[\d.]+ points, allowed -99 points") as caught:
        pipeline.build(recipe, home=home, overrides=["gates.f1_drop=-99"])
    assert "F1 drop ≤ -99 points" in str(caught.value.allowed)


def test_the_same_recipe_gives_the_same_bundle(recipe: Path, home: Home, built: Built) -> None:
    assert pipeline.build(recipe, home=home).digest == built.digest


def test_it_is_served_and_asked_by_client_and_command_line(
    built: Built, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = edgekit.serve_local(built.bundle, socket=tmp_path / "socket", home=home)
    process = subprocess.Popen(made.command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        assert b"answers" in process.stderr.readline()
        texts = ["ab  cat dog, xy sunny rain", "x"]
        with edgekit.Client(made.socket) as client:
            found = client.predict(texts)
        assert found.predictions[0].spans is not None
        for one in found.predictions[0].spans:
            assert texts[0][one.start : one.end] == one.text
            assert one.unsure == (one.score < 0.6)
        assert main.main(["predict", texts[0], "--url", made.socket]) == 0
        said = capsys.readouterr().out
        assert "spans" in said
        assert all(f"{one.score:.1%}" in said for one in found.predictions[0].spans)
        assert main.main(["predict", texts[0], "--url", made.socket, "--json"]) == 0
        (answer,) = json.loads(capsys.readouterr().out)["predictions"]
        assert [one["text"] for one in answer["spans"]] == [one.text for one in found.predictions[0].spans]
        samples = tmp_path / "samples.jsonl"
        samples.write_text('{"text": "a cat", "label": "ANIMAL"}\n')
        with pytest.raises(UsageError, match="labels words"):
            pipeline.assess(samples, url=made.socket)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_a_model_that_knows_no_such_words_is_refused_before_it_is_converted(recipe: Path, home: Home) -> None:
    with pytest.raises(BuildError, match="has no classifier") as caught:
        pipeline.build(recipe, home=home, overrides=["compress=[]"])
    assert "step finetune" in str(caught.value.remedy)
