"""Which trial is built, what happens when it misses a gate where it counts, and what is kept of it all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgekit.errors import GateMissed
from edgekit.home import Home
from edgekit.outcome import Candidate
from edgekit.searching import Searching, overrides, ranked
from edgekit.spec import codec
from edgekit.spec.progress import quiet
from edgekit.spec.recipe import Recipe
from edgekit.spec.trial import Option, Trial

RECIPE: dict[str, Any] = {
    "name": "mine",
    "model": {"path": "bert"},
    "data": {"source": "jsonl", "files": ["mine.jsonl"]},
    "compress": [{"prune": {"ffn": 64}}],
    "gates": {"accuracy_drop": 2.0},
    "search": {"ranges": [{"path": "compress.0.prune.ffn", "choices": [16, 32, 48, 64]}]},
}
NAME = "tflite-w8_a32_dynamic"


def trained(number: int, latency: float, drop: float, size: int = 1000) -> Trial:
    option = Option(NAME, latency, size, 80 - drop, drop)
    missed = {"accuracy_drop": drop - 2} if drop > 2 else {}
    return Trial(number, {"compress.0.prune.ffn": 16 + 16 * number}, "trained", "", option, missed)


TRIALS = (trained(0, 1.0, 5.0), trained(1, 2.0, 1.5), trained(2, 2.5, 0.5), trained(3, 4.0, 0.1))


def searching(tmp_path: Path, build: Any, recipe: dict[str, Any] = RECIPE) -> Searching:
    """Without the samples and the model, which its last part has no use for."""
    found = object.__new__(Searching)
    found.asked = codec.decode(Recipe, recipe)
    found.file, found.device, found.home = tmp_path / "mine.yaml", None, Home(tmp_path)
    found.build, found.report = build, quiet
    found.samples, found.model = SimpleNamespace(digest="a"), SimpleNamespace(key="b")  # type: ignore[assignment]
    return found


def built(latency: float) -> Any:
    best = Candidate(NAME, "tflite", "w8_a32_dynamic", latency_ms=latency, shipped=True)
    return SimpleNamespace(candidates=(best,), bundle=Path("/b/mine-1"))


def finish(searching: Searching, trials: tuple[Trial, ...] = TRIALS) -> Any:
    scale: Any = SimpleNamespace(file=Path("/t.json"))
    return searching._finish(trials, scale, None)


def test_the_quickest_within_the_gates_is_built_and_its_price_is_held_against_the_measurement(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def build(file: Path, settings: list[str], **_: Any) -> Any:
        asked.append(settings)
        return built(1.6)

    found = finish(searching(tmp_path, build))
    assert asked == [["compress.0.prune.ffn=32"]]
    assert (found.winner, found.predicted_ms, found.measured_ms, found.error) == (1, 2.0, 1.6, 0.25)
    assert found.front == (3, 2, 1, 0)
    assert found.command == ("compress.0.prune.ffn=32",)
    page = found.files["html"].read_text()
    assert "2.000 ms predicted by the latency table, 1.600 ms measured: +25.0%" in page
    assert "compress.0.prune.ffn=32" in found.files["markdown"].read_text()


def test_the_price_is_held_against_the_file_it_was_made_for_where_another_ships(tmp_path: Path) -> None:
    other = Candidate("tflite-w8_a8_static", "tflite", "w8_a8_static", latency_ms=1.0, shipped=True)
    priced = Candidate(NAME, "tflite", "w8_a32_dynamic", latency_ms=2.5)

    def build(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(candidates=(other, priced), bundle=Path("/b/mine-1"))

    found = finish(searching(tmp_path, build))
    assert (found.predicted_ms, found.measured_ms, found.error) == (2.0, 2.5, -0.2)


def test_a_price_for_several_threads_is_told_without_a_measurement(tmp_path: Path) -> None:
    recipe = {**RECIPE, "search": {**RECIPE["search"], "threads": 2}}
    found = finish(searching(tmp_path, lambda *_, **__: built(1.6), recipe))
    assert (found.predicted_ms, found.measured_ms) == (2.0, None)
    assert "2.000 ms predicted by the latency table, not measured" in found.files["markdown"].read_text()


def test_one_that_misses_a_gate_on_the_held_out_texts_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    def build(file: Path, settings: list[str], **_: Any) -> Any:
        if settings == ["compress.0.prune.ffn=32"]:
            raise GateMissed("no candidate meets the gates")
        return built(2.5)

    assert finish(searching(tmp_path, build)).winner == 2


def test_where_none_holds_the_first_refusal_is_told_and_the_report_is_written_all_the_same(tmp_path: Path) -> None:
    def build(file: Path, settings: list[str], **_: Any) -> Any:
        raise GateMissed(f"missed with {settings[0]}")

    here = searching(tmp_path, build)
    with pytest.raises(GateMissed, match=r"missed with compress\.0\.prune\.ffn=32"):
        finish(here)
    assert (here.folder / "search.html").is_file()
    assert "none was built" in (here.folder / "search.md").read_text()


def test_where_no_trial_meets_the_gates_the_nearest_is_named(tmp_path: Path) -> None:
    here = searching(tmp_path, None)
    with pytest.raises(GateMissed, match=r"the nearest is trial 1.*accuracy drop 2.50 points, allowed 2 points"):
        finish(here, (trained(0, 1.0, 5.0), trained(1, 2.0, 2.5)))
    assert (here.folder / "search.html").is_file()


def test_nearly_as_quick_and_smaller_is_better_and_without_a_gate_on_accuracy_the_knee_is_taken() -> None:
    recipe = codec.decode(Recipe, RECIPE)
    near = (trained(0, 1.0, 0.5, 3000), trained(1, 1.01, 0.5, 1000), trained(2, 1.5, 0.1, 10))
    assert [one.number for one in ranked(near, None, recipe)] == [1, 0, 2]
    free = codec.decode(Recipe, {**RECIPE, "gates": {}})
    assert [one.number for one in ranked(TRIALS, 2, free)] == [2, 3, 1, 0]


def test_drawn_values_are_written_as_settings_are_read() -> None:
    settings = {"a.0.layers": [0, 5], "b": 1e-05, "c": "w8_a8_static", "d": {"label": 0.3}}
    assert overrides(settings) == ["a.0.layers=[0, 5]", "b=1e-05", 'c="w8_a8_static"', 'd={"label": 0.3}']
