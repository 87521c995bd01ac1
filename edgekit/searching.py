"""A search: candidates are drawn, rehearsed, priced, trained, compared; the best one is built and verified.

What the latency table and the size of a candidate's structure already rule out is never trained.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgekit.building import Builder, Module
from edgekit.errors import BuildError, GateMissed, SpecError, UsageError
from edgekit.exploration import engines, trial
from edgekit.exploration import table as tables
from edgekit.exploration.front import front, knee
from edgekit.exploration.table import Settings
from edgekit.home import Home
from edgekit.outcome import HOST, Built, RangeRow, Searched, SearchPlan
from edgekit.spec import codec
from edgekit.spec.device import Device
from edgekit.spec.progress import Report, quiet
from edgekit.spec.recipe import Recipe
from edgekit.spec.scheme import FORMAT_SCHEMES
from edgekit.spec.search import Search, candidate, takes_whole
from edgekit.spec.trial import Option, Trial
from edgekit.stages import Stages
from edgekit.tabling import Scale
from edgekit.trying import Work, rehearse, train

#: A price may be off by so much: what misses the latency gate by less is trained, and measured in the end.
SLACK = 0.05


@dataclass
class Searching:
    """One search. ``build`` is the whole road of a recipe's file with overrides, to verify the winner with."""

    asked: Recipe
    file: Path
    device: Device | None
    home: Home
    build: Callable[..., Built]
    report: Report = quiet
    samples: Any = field(init=False)
    model: Module = field(init=False)
    stages: Stages = field(init=False)

    def __post_init__(self) -> None:
        builder = Builder(self.asked, self.file.parent, self.home, self.report)
        self.stages = builder.stages
        self.samples = builder.samples()
        self.model = builder.model(self.samples)

    @property
    def search(self) -> Search:
        return wanted(self.asked, self.file)

    @property
    def folder(self) -> Path:
        """Named by all that the trials depend on; asking for more trials goes on with the same ones."""
        same = replace(self.asked, search=replace(self.search, trials=1), description="")
        place = self.device.target if self.device else HOST
        key = codec.digest([codec.encode(same), self.samples.digest, self.model.key, place])
        return self.home.searches / f"{self.asked.name}-{key[:12]}"

    def run(self, trials: int, engine: str, workers: int, output: Path | None) -> Searched:
        """Draw until there are ``trials``, then build the best one. Raises GateMissed where none meets the gates."""
        from edgekit.exploration.study import Study, combinations, same

        works = ENGINES[engine](self.report, workers)
        most = combinations(self.asked, self.search)
        with (
            Study(self.folder, self.asked, self.asked.seed) as study,
            Scale(self.home, self.device, self.samples, self.asked.convert, self.report) as scale,
        ):
            scale.check(self.search.threads)
            running: dict[int, Any] = {}
            drawn = len(study.trials())
            try:
                while True:
                    while len(running) < works.slots and drawn < trials:
                        seen = {codec.dumps(one.settings) for one in (*study.trials(), *running.values())}
                        if most is not None and len(seen) >= most:
                            break
                        one = study.draw(seen)
                        number, drawn = drawn, drawn + 1
                        twin = same(one.settings, study.trials())
                        found = replace(twin, number=number) if twin else self._prepare(number, one.settings, scale)
                        if isinstance(found, Trial):
                            self._tell(study, one, found)
                        else:
                            running[number] = one
                            works.submit(found)
                    if not running:
                        break
                    work, answer = works.collect()
                    self._tell(study, running.pop(work.number), self._judged(work, answer))
            finally:
                works.close()
            done = study.trials()
        return self._finish(done, scale, output)

    def _tell(self, study: Any, drawn: Any, found: Trial) -> None:
        study.tell(drawn, found)
        told = found.reason or (trial.describe(found.option, self.asked.gates) if found.option else "")
        self.report(f"trial {found.number}: {found.state}{': ' + told if told else ''}", None)

    def _prepare(self, number: int, settings: dict[str, Any], scale: Scale) -> Trial | Work:
        """Rehearse and price; a Trial where that already says that it need not be trained."""
        begun = time.monotonic()
        try:
            recipe = candidate(self.asked, settings)
            folder = rehearse(recipe, self.model, self.samples, self.stages)
            options = self._priced(recipe, folder, scale)
        except (SpecError, BuildError) as error:
            return Trial(number, settings, "refused", str(error.message), seconds=time.monotonic() - begun)
        worth = [one for one in options if not trial.missed(one, self.asked.gates, SLACK)]
        if not worth:
            nearest = trial.best(options, self.asked.gates)
            assert nearest is not None
            return Trial(
                number,
                settings,
                "skipped",
                "not trained: " + trial.describe(nearest, self.asked.gates),
                nearest,
                trial.missed(nearest, self.asked.gates),
                time.monotonic() - begun,
            )
        schemes = {one.name.partition("-")[2] for one in worth}
        convert = replace(recipe.convert, schemes=tuple(one for one in recipe.convert.schemes if one in schemes))
        return Work(
            number,
            settings,
            codec.encode(replace(recipe, convert=convert)),
            str(self.file.parent),
            str(self.home.root),
            str(self.samples.folder),
            tuple(worth),
            begun,
        )

    def _priced(self, recipe: Recipe, folder: Path, scale: Scale) -> list[Option]:
        from edgekit.exploration import probe

        _, shapes = probe.read(folder)
        found = []
        for form in recipe.convert.formats:
            held = [one for one in recipe.convert.schemes if one in FORMAT_SCHEMES[form]]
            for scheme in [one for one in held if scale.runs(form, one)]:
                # a scale a block has kernels of its own
                block = recipe.convert.quantization.block if scheme == "w4_a32_dynamic" else None
                settings = Settings(form, scheme, self.search.threads, block or 0)
                ms = scale.predict(folder, shapes, settings, recipe.data.lengths)
                size = probe.least_bytes(folder, tables.weight_bits(scheme))
                found.append(Option(f"{form}-{scheme}", round(ms, 6), size))
        return found

    def _judged(self, work: Work, answer: tuple[Option, ...] | str) -> Trial:
        seconds = time.monotonic() - work.begun
        if isinstance(answer, str):
            return Trial(work.number, work.settings, "refused", answer, seconds=seconds)
        option = trial.best(answer, self.asked.gates)
        if option is None:
            reasons = "; ".join(f"{one.name}: {one.failure}" for one in answer)
            return Trial(work.number, work.settings, "refused", reasons, seconds=seconds)
        beyond = trial.missed(option, self.asked.gates)
        return Trial(work.number, work.settings, "trained", "", option, beyond, seconds)

    def _finish(self, done: Sequence[Trial], scale: Scale, output: Path | None) -> Searched:
        trained = [one for one in done if one.state == "trained" and one.option is not None]
        costs = [trial.costs(one, self.search.objectives) for one in trained]
        members = tuple(trained[place].number for place in front(costs))
        bend = knee(costs) if len(self.search.objectives) > 1 else None
        chosen = None if bend is None else trained[bend].number
        searched = Searched(self.folder, scale.file, tuple(done), members, chosen)
        try:
            return self._verified(searched, output)
        except GateMissed:
            self._drawn(searched)
            raise

    def _verified(self, searched: Searched, output: Path | None) -> Searched:
        """Build the best candidate end to end; one that misses a gate there, on texts or a clock it was not chosen by,
        leaves the place to the next."""
        feasible = [one for one in searched.trials if one.feasible]
        if not feasible:
            raise trial.none_feasible(searched.trials, self.asked.gates)
        missed: GateMissed | None = None
        for one in ranked(feasible, searched.knee, self.asked):
            self.report(f"building trial {one.number}, to verify it end to end", None)
            try:
                built = self.build(self.file, overrides(one.settings), output=output, report=self.report)
            except GateMissed as error:
                self.report(f"trial {one.number} misses a gate where it counts: {error.message}", None)
                missed = missed or error
                continue
            return self._drawn(_compared(searched, one, built, self.search.threads))
        assert missed is not None
        raise missed

    def _drawn(self, searched: Searched) -> Searched:
        """With its report's files beside the trials."""
        from edgekit.report import searched as page

        place = self.device.name if self.device else HOST
        facts = [
            ("gates", page.gates(self.asked.gates)),
            ("objectives", ", ".join(self.search.objectives)),
            ("latency table", str(searched.table)),
            *_verdict(searched),
        ]
        said = page.content(self.asked.name, place, searched.trials, searched.front, searched.knee, facts)
        files = {
            "markdown": page.write_markdown(said, self.folder / "search.md"),
            "html": page.write_html(said, self.folder / "search.html"),
        }
        return replace(searched, files=files)


def plan(recipe: Recipe, file: Path, trials: int) -> SearchPlan:
    """What a search would do, without doing it."""
    from edgekit.exploration.study import combinations

    search = wanted(recipe, file)
    most = combinations(recipe, search)
    rows = []
    for one in search.ranges:
        values = one.values(takes_whole(recipe, one, "$.search"))
        told = [json.dumps(value) for value in values] if values is not None else None
        rows.append(
            RangeRow(one.path, ", ".join(told) if told else f"{one.low:g} to {one.high:g}{', log' if one.log else ''}")
        )
    drawn = trials if most is None else min(trials, most)
    return SearchPlan(recipe.name, drawn, most, tuple(rows), codec.encode(recipe.gates))


def wanted(recipe: Recipe, file: Path) -> Search:
    """The recipe's search. Raises SpecError where it has none."""
    if recipe.search is None:
        raise SpecError(
            "this recipe has nothing to search",
            where=f"{file} $.search",
            remedy="add search: {ranges: [{path: compress.1.prune.ffn, low: 192, high: 768, step: 64}]}",
        )
    return recipe.search


def overrides(settings: dict[str, Any]) -> list[str]:
    """The drawn values as ``--set`` takes them: the recipe with them is the candidate."""
    return [f"{path}={json.dumps(value)}" for path, value in settings.items()]


def ranked(feasible: Sequence[Trial], bend: int | None, recipe: Recipe) -> list[Trial]:
    """Best first: with a gate on accuracy the quickest, within 2 % of it the smaller. Without one the quickest would be
    the worst: the knee of the front, and then the most accurate."""

    def key(one: Trial) -> tuple[float, ...]:
        assert one.option is not None
        if recipe.gates.accuracy_drop is None:
            return (float(one.number != bend), -(one.option.accuracy or 0.0), one.option.latency_ms, one.number)
        return (one.option.latency_ms, one.option.size, one.number)

    order = sorted(feasible, key=key)
    if recipe.gates.accuracy_drop is not None and order[0].option is not None:
        bound = order[0].option.latency_ms * 1.02
        near = [one for one in order if one.option and one.option.latency_ms <= bound]
        near.sort(key=lambda one: (one.option.size if one.option else 0, one.number))
        order = [*near, *order[len(near) :]]
    return order


def _compared(searched: Searched, best: Trial, built: Built, threads: int) -> Searched:
    """The prediction held against the measurement of the very file it was made for; another may ship."""
    assert best.option is not None
    priced = next((one for one in built.candidates if one.name == best.option.name), None)
    # a build measures one thread
    measured = priced.latency_ms if priced is not None and threads == 1 else None
    error = None if not measured else round(best.option.latency_ms / measured - 1, 4)
    return replace(
        searched,
        winner=best.number,
        built=built,
        predicted_ms=best.option.latency_ms,
        measured_ms=measured,
        error=error,
        command=tuple(overrides(best.settings)),
    )


def _verdict(searched: Searched) -> list[tuple[str, str]]:
    if searched.winner is None or searched.built is None:
        return [("winner", "none was built")]
    told = f"trial {searched.winner}, built as {searched.built.bundle.name}"
    facts = [("winner", told), ("built again by", " ".join(f"--set '{one}'" for one in searched.command))]
    facts.append(("latency", price(searched)))
    return facts


def price(searched: Searched) -> str:
    """The table's price of the winner beside what was measured, in words."""
    told = f"{searched.predicted_ms:.3f} ms predicted by the latency table"
    if searched.measured_ms is None:
        return told + ", not measured with as many threads"
    return f"{told}, {searched.measured_ms:.3f} ms measured: {searched.error:+.1%}"


def _local(report: Report, workers: int) -> engines.Engine[Work, tuple[Option, ...] | str]:
    if workers != 1:
        raise UsageError("this machine trains one candidate at a time", given=workers, remedy="--engine ray")
    return engines.Local(partial(train, report=report))


def _ray(report: Report, workers: int) -> engines.Engine[Work, tuple[Option, ...] | str]:
    return engines.Ray(train, workers)


ENGINES: dict[str, Callable[[Report, int], engines.Engine[Work, tuple[Option, ...] | str]]] = {
    "local": _local,
    "ray": _ray,
}
