"""A 32-bit board: tflite-runtime from its wheel, numpy from Debian, and files in operators that it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_kit import RECIPE, write

from edgekit import pipeline
from edgekit.bundle import blob_file, entries
from edgekit.bundle.build import write as write_bundle
from edgekit.errors import PreflightError, SpecError
from edgekit.home import Home
from edgekit.outcome import Built
from edgekit.spec.device import Device
from edgekit.spec.manifest import Manifest

pytestmark = [pytest.mark.emulated, pytest.mark.torch, pytest.mark.slow]

TARGET = "generic-armv7"
SCHEMES = ("w32_a32_float", "w16_a32_float", "w8_a32_weight", "w8_a32_dynamic", "w8_a8_static")
INT8 = SCHEMES[2:]


@pytest.fixture(scope="module")
def board(home: Home) -> Iterator[Device]:
    yield pipeline.device_up(TARGET, clock="counted", home=home)
    pipeline.device_down(every=True, home=home)


@pytest.fixture(scope="module")
def recipe(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = RECIPE.replace(
        "[w32_a32_float, w8_a32_dynamic]", f"[{', '.join(SCHEMES)}]\n  calibration: {{samples: 32}}"
    )
    return write(tmp_path_factory.mktemp("recipe"), tiny_bert, written)


@pytest.fixture(scope="module")
def built(home: Home, board: Device, recipe: Path) -> Built:
    return pipeline.build(recipe, target=TARGET, home=home)


def test_every_scheme_runs_there_int8_included(built: Built) -> None:
    assert [one.scheme for one in built.candidates] == list(SCHEMES)
    assert [one.failure for one in built.candidates] == [None] * len(SCHEMES)
    assert {one.measured_on for one in built.candidates} == {TARGET}


@pytest.mark.parametrize("scheme", INT8)
def test_an_int8_release_gives_the_golden_answers(scheme: str, home: Home, board: Device, recipe: Path) -> None:
    made = pipeline.build(recipe, target=TARGET, overrides=[f"convert.schemes=[{scheme}]"], home=home)
    assert made.manifest.optimized.runtimes == ("litert", "tflite")
    health = pipeline.deploy(made.bundle, target=TARGET, home=home).health
    assert health is not None
    assert (health.ok, health.agreed) == (True, health.cases)
    found = pipeline.predict(["sunny abc", "the cats"], target=TARGET, home=home)
    assert found.release == made.digest
    assert all(abs(sum(score.probability for score in one.scores) - 1) < 1e-3 for one in found.predictions)


def test_a_file_of_newer_operators_is_refused_before_anything_is_sent(built: Built, home: Home, tmp_path: Path) -> None:
    def newer(manifest: Manifest) -> Manifest:
        artifacts = (dataclasses.replace(one, runtimes=("litert",)) for one in manifest.artifacts)
        return dataclasses.replace(manifest, artifacts=tuple(artifacts))

    blobs = {one.blob.sha256: blob_file(built.bundle, one.blob) for one in entries(built.manifest)}
    write_bundle(tmp_path / "newer", newer(built.manifest), blobs, home.keys / "signing")
    with pytest.raises(PreflightError, match="read by litert, this device has tflite"):
        pipeline.deploy(tmp_path / "newer", target=TARGET, home=home)


def test_int4_is_refused_before_anything_is_trained(home: Home, board: Device, recipe: Path) -> None:
    with pytest.raises(SpecError, match="cannot run what the recipe asks for"):
        pipeline.build(recipe, target=TARGET, overrides=["convert.schemes=[w4_a32_dynamic]"], home=home)
