"""The whole search on this host, over a tiny model: rehearsed, priced, trained, built, kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pipeline_kit import write
from search_kit import RECIPE

from edgekit import load, pipeline
from edgekit.bundle.verify import verify
from edgekit.errors import GateMissed, SpecError, UsageError
from edgekit.exploration.table import Table
from edgekit.home import Home
from edgekit.outcome import Searched, SearchPlan
from edgekit.spec import codec
from edgekit.spec.trial import Trial

pytestmark = [pytest.mark.torch, pytest.mark.slow]
pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One home for all searches here: they share stages and the latency table."""
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    return write(tmp_path_factory.mktemp("recipe"), tiny_bert, RECIPE)


@pytest.fixture(scope="module")
def searched(home: Home, recipe: Path) -> Searched:
    found = pipeline.search(recipe, home=home)
    assert isinstance(found, Searched)
    return found


def test_the_best_candidate_is_built_and_signed_and_said_how_to_build_again(
    searched: Searched, home: Home, recipe: Path
) -> None:
    assert len(searched.trials) == 2
    winner = searched.trials[searched.winner or 0]
    assert winner.feasible
    assert searched.built is not None
    manifest, digest = verify(searched.built.bundle, home.keys / "trusted")
    assert winner.option is not None
    assert manifest.optimized.blob.size == winner.option.size, "the very file that was a trial ships"
    assert pipeline.build(recipe, home=home, overrides=searched.command).digest == digest
    quickest = min(one.option.latency_ms for one in searched.trials if one.feasible and one.option)
    assert winner.option.latency_ms <= quickest * 1.02


def test_a_layer_the_model_has_not_is_refused_in_its_rehearsal_and_never_trained(searched: Searched) -> None:
    wrong = [one for one in searched.trials if one.settings["compress.2.distill.layers"] == [3]]
    assert all(one.state == "refused" and "no such layer" in one.reason for one in wrong)


def test_the_table_is_kept_and_the_price_held_against_the_measurement(searched: Searched) -> None:
    kept = codec.loads(Table, searched.table.read_text())
    assert {one.kind for one in kept.entries} >= {"last"}
    assert {one.length for one in kept.entries} == {16}
    assert searched.predicted_ms is not None
    assert searched.measured_ms is not None
    assert searched.predicted_ms > 0
    assert searched.error == pytest.approx(searched.predicted_ms / searched.measured_ms - 1, abs=1e-3)


def test_the_report_names_every_trial(searched: Searched) -> None:
    page, text = (searched.files[kind].read_text() for kind in ("html", "markdown"))
    assert "<svg" in page
    assert page.count("<circle") == sum(one.state == "trained" for one in searched.trials)
    for one in searched.trials:
        assert f"| {one.number} " in text or f"**{one.number} " in text


def test_asking_for_more_trials_goes_on_and_asking_again_trains_nothing(
    searched: Searched, home: Home, recipe: Path
) -> None:
    again = pipeline.search(recipe, home=home)
    assert isinstance(again, Searched)
    assert again.trials == searched.trials
    more = pipeline.search(recipe, trials=3, home=home)
    assert isinstance(more, Searched)
    assert more.trials[:2] == searched.trials
    assert len(more.trials) == 3


def test_what_the_price_already_rules_out_is_not_trained(home: Home, recipe: Path) -> None:
    told: list[str] = []
    with pytest.raises(GateMissed, match="the nearest is trial") as caught:
        pipeline.search(
            recipe, home=home, overrides=["gates.size_mb=0.0001"], report=lambda message, done: told.append(message)
        )
    assert "size" in caught.value.message
    assert not [one for one in told if "epoch" in one], "nothing was trained"


def test_a_dry_run_says_what_would_be_drawn_from(home: Home, recipe: Path) -> None:
    plan = pipeline.search(recipe, dry_run=True, home=home)
    assert isinstance(plan, SearchPlan)
    assert (plan.combinations, plan.trials) == (3 * 2, 2)
    assert plan.ranges[1].values == "32, 64"
    most = pipeline.search(recipe, dry_run=True, trials=99, home=home)
    assert isinstance(most, SearchPlan)
    assert most.trials == 6, "no more than there are"


def test_a_recipe_without_ranges_and_an_unknown_engine_are_refused(home: Home, recipe: Path, tmp_path: Path) -> None:
    plain = recipe.with_name("plain.yaml")
    plain.write_text(RECIPE.partition("search:")[0])
    with pytest.raises(SpecError, match="nothing to search"):
        pipeline.search(plain, home=home)
    with pytest.raises(UsageError, match="no such engine"):
        pipeline.search(recipe, engine="spark", home=home)
    with pytest.raises(UsageError, match="one candidate at a time"):
        pipeline.search(recipe, workers=2, home=home)


def test_ray_finds_what_this_process_finds(searched: Searched, recipe: Path, tmp_path: Path) -> None:
    """On a local Ray of its own, with a home of its own, one worker: the same trials."""
    pytest.importorskip("ray")
    found = pipeline.search(recipe, engine="ray", workers=1, trials=2, home=Home(tmp_path / "home"))
    assert isinstance(found, Searched)
    assert found.built is not None

    def answers(trials: Sequence[Trial]) -> list[object]:
        # prices come from a wall clock here: all else is the same
        return [(it.settings, replace(it.option, latency_ms=0.0) if it.option else it.reason) for it in trials]

    assert answers(found.trials) == answers(searched.trials[:2])


def test_the_scan_tells_what_each_method_costs_at_each_layer(home: Home, recipe: Path, tmp_path: Path) -> None:
    page = tmp_path / "scan.html"
    found = pipeline.analyze(recipe, html=page, home=home).sensitivity
    assert found.layers == 2
    cells = {(one.method, one.layer): one for one in found.cells}
    assert len(cells) == len(found.cells) == 2 * len({one.method for one in found.cells})
    assert all(one.drop is not None for one in found.cells)
    assert cells["int8 weights", 0].drop == pytest.approx(0.0, abs=5.0)
    assert page.read_text().count('class="heat"') == len(found.cells)
    assert load.recipe(recipe).name in page.read_text()
