"""Drawing candidates with Optuna, resumably: every trial stands in a journal in the study's folder.

Each draw comes from a sampler seeded by the recipe's seed and the number of finished trials, and looks at finished
trials only: a study that was killed and goes on draws what it would have drawn.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from edgekit.errors import MissingExtra, UsageError
from edgekit.exploration.trial import costs
from edgekit.spec import codec
from edgekit.spec.search import Range, Search, takes_whole
from edgekit.spec.trial import Trial

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.study import StudyDirection
    from optuna.trial import TrialState
except ImportError as error:
    raise MissingExtra("optuna", "search") from error

JOURNAL = "trials.journal"
_OUTCOME = "outcome"
#: How often a candidate that was seen is drawn again, before it is taken for another trial.
REDRAWS = 64
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Drawn:
    """A candidate that was drawn and not answered yet. ``settings`` are its values by path."""

    def __init__(self, handle: Any, settings: dict[str, Any]) -> None:
        self.handle, self.settings = handle, settings


class Study:
    """One recipe's search, open for one process at a time. Raises UsageError where another one has it open."""

    def __init__(self, folder: Path, recipe: Any, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _only_one(folder)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        file = folder / JOURNAL
        # the journal's own lock is left behind by a killed process; ours goes with it
        for stale in folder.glob(JOURNAL + "*.lock"):
            stale.unlink()
        self.search: Search = recipe.search
        self.seed = seed
        self.spaces = {one.path: distribution(recipe, one) for one in self.search.ranges}
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(file))),
            study_name="search",
            directions=[StudyDirection.MINIMIZE] * len(self.search.objectives),
            load_if_exists=True,
        )
        for one in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            # what a killed process was at: drawn again, since its number of finished trials comes again
            self._study.tell(one.number, state=TrialState.FAIL)

    def __enter__(self) -> Study:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def trials(self) -> tuple[Trial, ...]:
        """All finished trials, in the order they were drawn."""
        found = self._study.get_trials(deepcopy=False, states=_FINISHED)
        return tuple(codec.loads(Trial, one.user_attrs[_OUTCOME]) for one in found)

    def draw(self, seen: Collection[str] = ()) -> Drawn:
        """The next candidate; one whose settings are among ``seen`` (canonical JSON) is drawn again, now at random."""
        drawn = len(self._study.get_trials(deepcopy=False, states=(*_FINISHED, TrialState.RUNNING)))
        found = self._drawn(_sampler(self.search, self.seed, drawn))
        for attempt in range(1, REDRAWS):
            if codec.dumps(found.settings) not in seen:
                break
            # failed ones are seen by no sampler, and not counted: a search that goes on draws the same
            self._study.tell(found.handle, state=TrialState.FAIL)
            found = self._drawn(optuna.samplers.RandomSampler(seed=_mixed(self.seed + attempt, drawn)))
        return found

    def _drawn(self, sampler: Any) -> Drawn:
        self._study.sampler = sampler
        handle = self._study.ask(dict(self.spaces))
        settings = {
            one.path: one.choices[handle.params[one.path]] if one.choices else handle.params[one.path]
            for one in self.search.ranges
        }
        return Drawn(handle, settings)

    def tell(self, drawn: Drawn, trial: Trial) -> None:
        """How a candidate did. What it misses of the gates is told to the sampler as constraints."""
        drawn.handle.set_user_attr(_OUTCOME, codec.dumps(trial))
        constraints: Mapping[str, float] = trial.missed or {}
        for name in ("accuracy_drop", "size_mb", "latency_ms"):
            drawn.handle.set_constraint(name, constraints.get(name, 0.0))
        drawn.handle.set_constraint("possible", float(trial.option is None))
        if trial.state == "trained" and trial.option is not None:
            self._study.tell(drawn.handle, list(costs(trial, self.search.objectives)))
        else:
            self._study.tell(drawn.handle, state=TrialState.PRUNED)


def distribution(recipe: Any, one: Range) -> Any:
    """Optuna's name for a range; choices are drawn by their place, for they may be lists and mappings."""
    if one.choices:
        return optuna.distributions.CategoricalDistribution(tuple(range(len(one.choices))))
    assert one.low is not None
    assert one.high is not None
    if takes_whole(recipe, one, "$.search"):
        return optuna.distributions.IntDistribution(int(one.low), int(one.high), one.log, int(one.step or 1))
    return optuna.distributions.FloatDistribution(one.low, one.high, one.log, one.step)


def combinations(recipe: Any, search: Search) -> int | None:
    """How many candidates there are; ``None`` where a range is continuous."""
    total = 1
    for one in search.ranges:
        values = one.values(takes_whole(recipe, one, "$.search"))
        if values is None:
            return None
        total *= len(values)
    return total


def same(settings: Mapping[str, Any], trials: Sequence[Trial]) -> Trial | None:
    """The finished trial with the same values."""
    text = json.dumps(settings, sort_keys=True)
    return next((one for one in trials if json.dumps(one.settings, sort_keys=True) == text), None)


def _sampler(search: Search, seed: int, drawn: int) -> Any:
    if drawn < search.random:
        return optuna.samplers.RandomSampler(seed=_mixed(seed, drawn))
    if search.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=max(search.random, 4), seed=_mixed(seed, drawn))
    return optuna.samplers.TPESampler(n_startup_trials=search.random, multivariate=True, seed=_mixed(seed, drawn))


def _mixed(seed: int, drawn: int) -> int:
    return (seed * 1_000_003 + drawn * 7919) % 2**31


def _only_one(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UsageError(
            "this search is running already", where=str(folder), remedy="wait for it; all its trials are kept"
        ) from error
    return descriptor
