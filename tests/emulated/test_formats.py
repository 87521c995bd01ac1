"""One recipe, four formats, a classifier and a decoder: on an emulated Raspberry Pi 4 each file gives the golden
answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import language_kit
import pipeline_kit
import pytest

from edgekit import pipeline
from edgekit.bundle import blob_file
from edgekit.deliver import wheels
from edgekit.fieldwork import runtime_wheels
from edgekit.home import Home
from edgekit.outcome import Built
from edgekit.spec.scheme import FORMAT_SCHEMES

pytestmark = [pytest.mark.emulated, pytest.mark.torch, pytest.mark.slow]
for needed in ("onnxruntime", "onnxscript", "executorch"):
    pytest.importorskip(needed, reason="needs the extras 'onnx' and 'executorch'")

NAME = "rpi4-formats"
CONVERT = "convert:\n  formats: [tflite, onnx, pte, ptl]\n  schemes: [w8_a32_dynamic]\n"
#: Little training: what is to be seen is that both machines answer alike.
CLASSIFIER = (
    pipeline_kit.RECIPE.split("  - vocabulary")[0].replace("[8, 16]", "[16]") + CONVERT + "gates: {accuracy_drop: 60}\n"
)
DECODER = (
    """\
name: writes
task: language
model: {path: gpt2}
data: {source: text, files: [chain.txt], validation: 20, test: 20, lengths: [8]}
compress:
  - distill: {layers: [0], epochs: 1, learning_rate: 3.0e-3, batch: 16}
"""
    + CONVERT
)
#: .ptl files need torch, whose 104 MB take minutes to ship to an emulated board and to import there.
SHIPPED = [
    "tflite",
    "onnx",
    "pte",
    pytest.param("ptl", marks=pytest.mark.skipif("EDGEKIT_TEST_TORCH" not in os.environ, reason="takes minutes")),
]


@dataclass(frozen=True)
class Family:
    recipe: Path
    built: Built
    texts: tuple[str, ...]


@pytest.fixture(scope="module")
def families(
    home: Home, tiny_bert: Path, tiny_models_of: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Family, ...]:
    classifier = pipeline_kit.write(tmp_path_factory.mktemp("classifier"), tiny_bert, CLASSIFIER)
    decoder = language_kit.write(tmp_path_factory.mktemp("decoder"), tiny_models_of["gpt2"], DECODER, count=120)
    return tuple(
        Family(recipe, pipeline.build(recipe, home=home), texts)
        for recipe, texts in ((classifier, ("sunny abc", "the cats")), (decoder, ("a cat and", "never a")))
    )


@pytest.fixture(scope="module")
def board(home: Home) -> Iterator[str]:
    yield pipeline.device_up("rpi4", name=NAME, home=home).name
    pipeline.device_down(NAME, home=home)


def test_one_recipe_builds_all_four_formats_of_both(families: tuple[Family, ...]) -> None:
    for family in families:
        assert {one.format for one in family.built.candidates} == set(FORMAT_SCHEMES)
        assert [one.failure for one in family.built.candidates] == [None] * len(FORMAT_SCHEMES)
        figures = [one.perplexity or one.accuracy or 0.0 for one in family.built.candidates]
        assert 0 < max(figures) <= 1.1 * min(figures), "the same weights"


@pytest.mark.parametrize("form", SHIPPED)
def test_its_release_gives_the_golden_answers(form: str, home: Home, board: str, families: tuple[Family, ...]) -> None:
    for family in families:
        # all of it is there from before
        built = pipeline.build(family.recipe, overrides=[f"convert.formats=[{form}]"], home=home)
        health = pipeline.deploy(built.bundle, device=board, home=home).health
        assert health is not None
        assert (health.ok, health.agreed) == (True, health.cases)
        assert health.cases == len(blob_file(built.bundle, built.manifest.golden).read_text().splitlines()) > 8
        found = pipeline.predict(family.texts, device=board, home=home)
        assert found.release == built.digest
        if form != "tflite":
            assert [one.bucket for one in found.predictions] == [one.tokens for one in found.predictions]


def test_only_torchscript_ships_torch(home: Home) -> None:
    from edgekit import load

    for form in ("tflite", "onnx", "pte"):
        names = [one.name for one in runtime_wheels(home, load.target("rpi4"), form)]
        assert not any(name.startswith("torch-") for name in names)
    assert any(one.startswith("torch==") for one in wheels.runtime_packages(load.target("rpi4"), "torchscript"))
