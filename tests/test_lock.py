"""recipe.lock: two builds agree bit for bit, and a locked one says what drifted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pipeline_kit import RECIPE, write

from edgekit import lock, pipeline
from edgekit.errors import BuildError, SpecError
from edgekit.home import Home
from edgekit.outcome import Built, Candidate
from edgekit.spec import codec
from edgekit.spec.data import DataSpec
from edgekit.spec.lock import Hardware, Lock, Stage
from edgekit.spec.recipe import ModelSpec, Recipe

SCHEMES = ("w32_a32_float", "w8_a32_dynamic")
NAMES = ("pyyaml",)
ASKED = Recipe("mine", ModelSpec(path="x"), DataSpec("jsonl", files=("x",)))
LOCK = lock.made(
    ASKED,
    NAMES,
    data="d" * 64,
    model="m" * 64,
    stages=[Stage("1-finetune", "i1", "o1"), Stage("tflite-w32_a32_float", "i2", "o2")],
    shipped="tflite-w32_a32_float",
    bundle="b" * 64,
    target=None,
)


def guard(changed: Lock = LOCK, report: Callable[[str, float | None], None] = lambda *_: None) -> lock.Guard:
    return lock.Guard(changed, Path("mine.lock"), report)


def test_a_build_that_keeps_to_its_lock_goes_through() -> None:
    held = guard()
    held.recipe(ASKED, None)
    held.host(NAMES)
    held.data("d" * 64)
    held.model("m" * 64)
    for one in LOCK.stages:
        held.stage(one)
    # the clock chose another one today
    found = [
        Candidate("other", "tflite", "w8_a32_dynamic", shipped=True),
        Candidate(LOCK.shipped, "tflite", SCHEMES[0]),
    ]
    assert held.shipped(found) == LOCK.shipped
    held.bundle("b" * 64)


@pytest.mark.parametrize(
    ("tell", "what", "given", "allowed"),
    [
        (lambda one: one.recipe(replace(ASKED, seed=8), None), "the recipe: $.seed", "8", "7"),
        (
            lambda one: one.recipe(replace(ASKED, data=replace(ASKED.data, lengths=(16, 32, 64, 96))), None),
            "the recipe: $.data.lengths[3]",
            "96",
            "128",
        ),
        (lambda one: one.recipe(ASKED, "rpi4"), "the target", "rpi4", "not there"),
        (lambda one: one.data("e" * 64), "the data", "e" * 64, "d" * 64),
        (lambda one: one.model("n" * 64), "the model", "n" * 64, "m" * 64),
        (lambda one: one.stage(Stage("1-finetune", "i1", "x")), "the output of stage 1-finetune", "x", "o1"),
        (lambda one: one.stage(Stage("1-finetune", "x", "x")), "the input of stage 1-finetune", "x", "i1"),
        (lambda one: one.stage(Stage("1-prune", "i1", "o1")), "the order of stages", "1-prune", "1-finetune"),
        (lambda one: [one.stage(each) for each in (*LOCK.stages, LOCK.stages[0])], "one more", "1-finetune", "none"),
        (lambda one: one.bundle("c" * 64), "the bundle", "c" * 64, "b" * 64),
        (
            lambda one: one.shipped(
                [Candidate("other", "tflite", "x", shipped=True), Candidate(LOCK.shipped, "tflite", "y", failure="no")]
            ),
            "the candidate that ships",
            "other",
            "tflite-w32_a32_float",
        ),
    ],
)
def test_the_first_thing_that_differs_is_named(
    tell: Callable[[lock.Guard], Any], what: str, given: str, allowed: str
) -> None:
    with pytest.raises(BuildError, match="drifted from its lock") as caught:
        tell(guard())
    assert what in caught.value.message
    assert given in str(caught.value.given)
    assert allowed in str(caught.value.allowed)
    assert caught.value.where == "mine.lock"
    assert caught.value.exit_code == 3


def test_a_version_that_differs_is_named_with_the_way_back() -> None:
    with pytest.raises(BuildError, match="the version of pyyaml") as caught:
        guard(replace(LOCK, versions={**LOCK.versions, "pyyaml": "1.2.3"})).host(NAMES)
    assert caught.value.allowed == "1.2.3"
    assert caught.value.given == LOCK.versions["pyyaml"]
    assert "pip install 'pyyaml==1.2.3'" in str(caught.value.remedy)
    with pytest.raises(BuildError, match="the version of python"):
        guard(replace(LOCK, versions={**LOCK.versions, "python": "3.9.1"})).host(NAMES)
    with pytest.raises(BuildError, match="the version of gone"):
        guard(replace(LOCK, versions={**LOCK.versions, "gone": "1"})).host(NAMES)


def test_edgekit_s_own_code_counts() -> None:
    with pytest.raises(BuildError, match="edgekit's own code"):
        guard(replace(LOCK, code="0" * 64)).host(NAMES)


def test_other_hardware_is_told_and_not_refused() -> None:
    told: list[str] = []
    guard(
        replace(LOCK, hardware=Hardware("Cortex-A72", ("neon",), 4, 4)), lambda message, done: told.append(message)
    ).host(NAMES)
    assert any("cpu" in one and "Cortex-A72" in one for one in told)
    assert all(one.startswith("other hardware than the lock's") for one in told)


def test_without_a_lock_nothing_is_held_against_anything() -> None:
    free = lock.Guard(None, None, lambda *_: None)
    free.recipe(ASKED, "rpi4")
    free.host(NAMES)
    free.data("x")
    free.stage(Stage("any", "x", "y"))
    free.bundle("z")
    assert free.shipped([Candidate("one", "tflite", "x", shipped=True)]) == "one"


def test_a_lock_is_written_canonically_and_read_back(tmp_path: Path) -> None:
    file = lock.write(LOCK, lock.beside(tmp_path / "mine-0123"))
    assert file.name == "mine-0123.lock"
    assert lock.read(file) == LOCK
    again = lock.write(lock.read(file), tmp_path / "again.lock")
    assert again.read_bytes() == file.read_bytes()
    assert list(json.loads(file.read_text())) == sorted(json.loads(file.read_text()))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["again.lock", "mine-0123.lock"]


def test_what_is_no_lock_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.lock"
    with pytest.raises(SpecError, match="cannot be read"):
        lock.read(file)
    file.write_text('{"schema": 1}')
    with pytest.raises(SpecError, match="missing"):
        lock.read(file)
    file.write_text(json.dumps({**codec.encode(LOCK), "schema": 2}))
    with pytest.raises(SpecError, match="unknown lock schema"):
        lock.read(file)


def test_the_lock_beside_the_recipe_comes_before_the_newest_bundle_s(tmp_path: Path) -> None:
    recipe, bundles = tmp_path / "mine.yaml", tmp_path / "bundles"
    bundles.mkdir()
    assert lock.find(False, recipe, "mine", bundles) is None
    with pytest.raises(SpecError, match="no lock of this recipe"):
        lock.find(True, recipe, "mine", bundles)
    (bundles / "other-2.lock").touch()
    built = bundles / "mine-1.lock"
    built.touch()
    assert lock.find(True, recipe, "mine", bundles) == built
    recipe.with_suffix(".lock").touch()
    assert lock.find(True, recipe, "mine", bundles) == recipe.with_suffix(".lock")
    assert lock.find(Path("x"), recipe, "mine", bundles) == Path("x")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    text = RECIPE.replace("epochs: 4", "epochs: 2").replace("lengths: [8, 16]", "lengths: [8]")
    return write(tmp_path_factory.mktemp("recipe"), tiny_bert, text)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Home]:
    return Home(tmp_path_factory.mktemp("home")), Home(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def built(recipe: Path, homes: tuple[Home, Home]) -> Built:
    return pipeline.build(recipe, home=homes[0])


@pytest.mark.torch
@pytest.mark.slow
def test_two_builds_in_empty_homes_agree_bit_for_bit(recipe: Path, homes: tuple[Home, Home], built: Built) -> None:
    assert built.lock is not None
    # the clock may choose another candidate: held against the first one's lock, it must not
    again = pipeline.build(recipe, home=homes[1], locked=built.lock)
    assert not set(again.reused) & {"1-finetune", "2-vocabulary", "3-distill", "4-prune", "tflite-w8_a32_dynamic"}
    assert again.lock is not None
    assert again.lock.read_bytes() == built.lock.read_bytes()
    found = lock.read(again.lock)
    assert [one.name for one in found.stages if one.name[0].isdigit()] == [
        "1-finetune",
        "2-vocabulary",
        "3-distill",
        "4-prune",
    ]
    assert {f"tflite-{one}" for one in SCHEMES} <= {one.name for one in found.stages}
    assert found.versions["torch"]
    assert found.hardware.cores
    assert found.bundle == again.digest == built.digest


@pytest.mark.torch
@pytest.mark.slow
def test_a_cached_build_writes_the_same_lock(recipe: Path, homes: tuple[Home, Home], built: Built) -> None:
    assert built.lock is not None
    before = built.lock.read_bytes()
    again = pipeline.build(recipe, home=homes[0], locked=True)
    assert again.reused
    assert again.lock is not None
    assert again.lock.read_bytes() == before


@pytest.mark.torch
@pytest.mark.slow
def test_a_stage_whose_output_changed_is_named_first(
    recipe: Path, homes: tuple[Home, Home], built: Built, tmp_path: Path
) -> None:
    bundles = set(homes[0].bundles.iterdir())
    (stage,) = (homes[0].cache / "stages").glob("2-vocabulary-*[0-9a-f]")
    file = stage / "checkpoint" / "config.json"
    text = file.read_text()
    file.write_text(text + "\n")
    try:
        with pytest.raises(BuildError, match="the output of stage 2-vocabulary"):
            pipeline.build(recipe, home=homes[0], locked=built.lock)
    finally:
        file.write_text(text)
    assert set(homes[0].bundles.iterdir()) == bundles


@pytest.mark.torch
@pytest.mark.slow
def test_the_command_line_refuses_drift_with_exit_code_3(recipe: Path, homes: tuple[Home, Home], built: Built) -> None:
    with (recipe.parent / "mine.jsonl").open("a") as sink:
        sink.write('{"text": "one more sunny day", "label": "weather"}\n')
    code = "import sys; from edgekit.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "build", str(recipe), "--home", str(homes[0].root), "--json", "--locked"]
    done = subprocess.run([*command, str(built.lock)], capture_output=True, text=True)
    assert done.returncode == 3
    assert json.loads(done.stdout)["details"]["drift"] == "the data"
