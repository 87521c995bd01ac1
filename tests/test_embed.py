"""A model that embeds texts through the whole road on the host: recipe → student → files → cosines → bundle →
service."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import embed_kit
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytest.importorskip("onnxruntime")

import numpy as np  # noqa: E402

import edgekit  # noqa: E402
from edgekit import compress, evaluating, pipeline  # noqa: E402
from edgekit.agent import tasks, work  # noqa: E402
from edgekit.bundle.verify import verify  # noqa: E402
from edgekit.cli import main  # noqa: E402
from edgekit.compress.encoded import encode  # noqa: E402
from edgekit.compress.evaluate import logits  # noqa: E402
from edgekit.data import samples as sampled  # noqa: E402
from edgekit.errors import GateMissed, UsageError  # noqa: E402
from edgekit.home import Home  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.outcome import Built  # noqa: E402
from edgekit.spec import codec  # noqa: E402
from edgekit.spec.manifest import Artifact, GoldenCase  # noqa: E402
from edgekit.spec.progress import quiet  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    return embed_kit.write(tmp_path_factory.mktemp("recipe"), tiny_bert)


@pytest.fixture(scope="module")
def built(recipe: Path, home: Home) -> Built:
    return pipeline.build(recipe, home=home)


def model(built: Built, artifact: Artifact) -> tasks.Model:
    file, tokenizer = (str(built.bundle / "blobs" / one.sha256) for one in (artifact.blob, artifact.tokenizer))
    return tasks.Model(artifact.format, file, tokenizer, artifact.lengths, dynamic=artifact.dynamic, task="embed")


def texts(home: Home) -> list[str]:
    (folder,) = (one for one in (home.cache / "samples").iterdir() if one.is_dir() and len(one.name) == 24)
    return [one.text for one in sampled.read(folder).test]


def embedded(built: Built, artifact: Artifact, asked: list[str]) -> np.ndarray:
    answers = work.ask({}, tasks.Ask(model(built, artifact), tuple(asked), (), 1), quiet).predictions
    found: np.ndarray = np.array([one.embedding for one in answers])
    return found


def test_the_reference_embeds_as_transformers_does(built: Built, home: Home, tiny_bert: Path, tmp_path: Path) -> None:
    compress.adopt(tiny_bert, tmp_path / "own", "embed")
    own = checkpoints.load(tmp_path / "own")
    baseline = built.manifest.baseline
    assert baseline is not None
    asked = texts(home)
    wanted = logits(own.module, encode([sampled.Sample(one, 0) for one in asked], own, 16)).numpy()
    np.testing.assert_allclose(embedded(built, baseline, asked), wanted, atol=1e-4)
    assert (baseline.accuracy, baseline.mean_cosine, baseline.least_cosine) == (100.0, 1.0, 1.0)


def test_the_figures_are_those_of_the_files_own_answers(built: Built, home: Home) -> None:
    manifest, _ = verify(built.bundle, home.keys / "trusted")
    optimized, baseline, asked = manifest.optimized, manifest.baseline, texts(home)
    assert (manifest.task, manifest.labels, optimized.task) == ("embed", (), "embed")
    assert baseline is not None
    assert optimized.parameters < baseline.parameters
    ours, theirs = embedded(built, optimized, asked), embedded(built, baseline, asked)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1.0, atol=1e-3)
    cosines = (ours * theirs).sum(1)
    assert optimized.mean_cosine == pytest.approx(float(cosines.mean()), abs=1e-4)
    assert optimized.least_cosine == pytest.approx(float(cosines.min()), abs=1e-4)
    near = [
        max(range(len(asked)), key=lambda at, row=row, one=one: -2.0 if at == row else float(one[row] @ one[at]))
        for one in (ours, theirs)
        for row in range(len(asked))
    ]
    same = sum(mine == other for mine, other in zip(near[: len(asked)], near[len(asked) :], strict=True))
    assert optimized.accuracy == pytest.approx(100 * same / len(asked), abs=1e-3)
    assert built.candidates[0].mean_cosine is not None
    assert built.candidates[0].mean_cosine > 0.5


def test_the_golden_cases_hold_but_not_for_another_model(built: Built, tmp_path: Path) -> None:
    golden = built.bundle / "blobs" / built.manifest.golden.sha256
    loaded = model(built, built.manifest.optimized)
    health = work.check(tasks.Check(loaded, str(golden)), quiet)
    assert (health.ok, health.cases) == (True, 16), health.failure
    case = codec.loads(GoldenCase, golden.read_text().splitlines()[0])
    assert case.embedding is not None
    for wrong in ((*case.embedding[1:], case.embedding[0]), case.embedding[:-1]):
        (tmp_path / "golden").write_text(codec.dumps(GoldenCase(case.text, 0, embedding=wrong)) + "\n")
        health = work.check(tasks.Check(loaded, str(tmp_path / "golden")), quiet)
        assert not health.ok
        assert "instead of an embedding" in health.failure


def test_a_gate_on_the_cosine_refuses_and_names_the_figure(recipe: Path, home: Home, built: Built) -> None:
    with pytest.raises(GateMissed, match="mean cosine's distance from 1") as caught:
        pipeline.build(recipe, home=home, overrides=["gates.mean_cosine=1.0001"])
    assert "mean cosine ≥ 1.0001" in str(caught.value.allowed)


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
        with edgekit.Client(made.socket) as client:
            (found,) = client.predict(["a cat and a dog"]).predictions
        assert found.embedding is not None
        assert len(found.embedding) == built.manifest.optimized.answers == 32
        assert (found.scores, found.spans) == ((), None)
        assert main.main(["predict", "a cat and a dog", "--url", made.socket]) == 0
        assert "32 numbers" in capsys.readouterr().out
        assert main.main(["predict", "a cat and a dog", "--url", made.socket, "--json"]) == 0
        (answer,) = json.loads(capsys.readouterr().out)["predictions"]
        assert tuple(answer["embedding"]) == found.embedding
        samples = tmp_path / "samples.jsonl"
        samples.write_text('{"text": "a cat", "label": "ANIMAL"}\n')
        with pytest.raises(UsageError, match="embeds texts"):
            pipeline.assess(samples, url=made.socket)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_a_scan_has_nothing_to_measure_by(recipe: Path, home: Home) -> None:
    with pytest.raises(UsageError, match="embeddings have none"):
        pipeline.analyze(recipe, home=home)


def test_vectors_of_another_length_have_neighbours_but_no_cosine(built: Built) -> None:
    given, wanted = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], [[1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0]]
    bare = replace(built.manifest.optimized, mean_cosine=None, least_cosine=None)
    found = evaluating._likened(bare, given, wanted)
    assert (found.accuracy, found.mean_cosine, found.least_cosine) == (100.0, None, None)
    found = evaluating._likened(built.manifest.optimized, given, [[0.0, 1.0], [0.9, 0.1], [0.1, 0.9]])
    assert found.accuracy == 0.0
