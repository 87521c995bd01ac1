"""Drawing with Optuna: seeded, and the same whether it was killed on the way or not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from edgekit.errors import UsageError
from edgekit.exploration.study import Study, combinations, same
from edgekit.spec import codec
from edgekit.spec.recipe import Recipe
from edgekit.spec.trial import Option, Trial

LAYERS = {"path": "compress.1.distill.layers", "choices": [[0, 1], [1], [0]]}
RECIPE: dict[str, Any] = {
    "name": "mine",
    "model": {"path": "bert"},
    "data": {"source": "jsonl", "files": ["mine.jsonl"]},
    "compress": [{"prune": {"ffn": 64}}, {"distill": {"layers": [0, 1], "learning_rate": 1e-3}}],
    "search": {
        "ranges": [
            {"path": "compress.0.prune.ffn", "low": 32, "high": 512, "step": 8},
            LAYERS,
            {"path": "compress.1.distill.learning_rate", "low": 1e-4, "high": 1e-3, "log": True},
        ],
        "random": 4,
    },
}


def recipe(**search: Any) -> Recipe:
    return codec.decode(Recipe, {**RECIPE, "search": {**RECIPE["search"], **search}})


def answer(number: int, settings: dict[str, Any]) -> Trial:
    """A made-up model: wide is slow and right, and one in seven is refused."""
    ffn, layers = settings["compress.0.prune.ffn"], len(settings["compress.1.distill.layers"])
    if number % 7 == 3:
        return Trial(number, settings, "refused", "made up")
    drop = 512 / ffn - 1 + 2 * (2 - layers)
    option = Option("tflite-w8_a32_dynamic", ffn * layers / 100, ffn * 1000, 80 - drop, drop)
    return Trial(number, settings, "trained", "", option, {"accuracy_drop": drop - 3} if drop > 3 else {})


def run(folder: Path, trials: int, asked: Recipe | None = None, seed: int = 7) -> list[dict[str, Any]]:
    with Study(folder, asked or recipe(), seed) as study:
        for number in range(len(study.trials()), trials):
            drawn = study.draw()
            study.tell(drawn, answer(number, drawn.settings))
        return [one.settings for one in study.trials()]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_the_same_seed_draws_the_same_candidates_and_stopping_changes_nothing(tmp_path: Path, sampler: str) -> None:
    asked = recipe(sampler=sampler)
    whole = run(tmp_path / "whole", 14, asked)
    for trials in (3, 9, 14):
        stopped = run(tmp_path / "stopped", trials, asked)
    assert stopped == whole
    assert run(tmp_path / "other", 14, asked, seed=8) != whole


def test_drawn_values_stand_in_their_ranges(tmp_path: Path) -> None:
    for one in run(tmp_path, 12):
        assert one["compress.0.prune.ffn"] in range(32, 513, 8)
        assert one["compress.1.distill.layers"] in ([0, 1], [1], [0])
        assert 1e-4 <= one["compress.1.distill.learning_rate"] <= 1e-3


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from test_study import answer, recipe
from edgekit.exploration.study import Study
with Study(Path({folder!r}), recipe(), 7) as study:
    for number in range({after}):
        drawn = study.draw()
        study.tell(drawn, answer(number, drawn.settings))
    study.draw()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_search_loses_the_running_trial_only_and_goes_on_as_if_nothing_was(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    code = textwrap.dedent(KILLED).format(path=[str(Path(__file__).parent)], folder=str(folder), after=6)
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Study(folder, recipe(), 7) as study:
        assert len(study.trials()) == 6
    assert run(folder, 14) == run(tmp_path / "whole", 14)


def test_one_search_runs_once_at_a_time(tmp_path: Path) -> None:
    with Study(tmp_path, recipe(), 7), pytest.raises(UsageError, match="running already"):
        Study(tmp_path, recipe(), 7)


def test_what_misses_a_gate_is_drawn_less(tmp_path: Path) -> None:
    """Constraints reach the sampler: later candidates meet the gate more often than the random ones."""
    asked = recipe(random=10, objectives=["latency"])
    run(tmp_path, 50, asked)
    with Study(tmp_path, asked, 7) as study:
        trials = study.trials()
    late = [one for one in trials[30:] if one.state == "trained"]
    first = [one for one in trials[:10] if one.state == "trained"]
    share = sum(one.feasible for one in late) / len(late)
    assert share > sum(one.feasible for one in first) / len(first)
    assert share > 0.6


def test_a_small_space_is_gone_through_without_drawing_one_twice(tmp_path: Path) -> None:
    asked = recipe(ranges=[{"path": "compress.0.prune.ffn", "low": 32, "high": 72, "step": 8}, LAYERS], random=2)

    def drawn(folder: Path, trials: int) -> list[str]:
        with Study(folder, asked, 7) as study:
            for number in range(len(study.trials()), trials):
                one = study.draw({codec.dumps(it.settings) for it in study.trials()})
                study.tell(one, answer(number, one.settings))
            return [codec.dumps(one.settings) for one in study.trials()]

    whole = drawn(tmp_path / "whole", 18)
    assert len(set(whole)) == 18 == combinations(asked, asked.search)  # type: ignore[arg-type]
    for trials in (5, 11, 18):
        stopped = drawn(tmp_path / "stopped", trials)
    assert stopped == whole, "what was drawn again is drawn again alike"


def test_finite_spaces_are_counted_and_twins_are_found(tmp_path: Path) -> None:
    asked = recipe(ranges=RECIPE["search"]["ranges"][:2])
    assert asked.search is not None
    assert combinations(asked, asked.search) == 61 * 3
    endless = recipe()
    assert endless.search is not None
    assert combinations(endless, endless.search) is None
    trials = [Trial(0, {"a": [1], "b": 2}, "refused")]
    assert same({"b": 2, "a": [1]}, trials) is trials[0]
    assert same({"b": 3, "a": [1]}, trials) is None
