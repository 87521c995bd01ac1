"""The whole road, stage by stage, in order. Read this first.

``recipe → samples → module → artifact → bundle → plan → release → result → report``

Each stage hands on a spec value and a path; no stage imports another, they meet here. The stages of a build stand in
``edgekit.building``, sessions with live boards in ``edgekit.fieldwork``, the devices a host knows in
``edgekit.inventory``; this file says what follows what, and is what the command line and ``import edgekit`` call.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from edgekit import analyzing, delivering, load, lock, searching, serving, shelf
from edgekit import bundle as bundles
from edgekit.asking import assess, generate, predict
from edgekit.benchmark import history
from edgekit.benchmark import plan as bench_plan
from edgekit.benchmark import run as bench_run
from edgekit.benchmark.summary import lines
from edgekit.building import CONVERTERS, Builder, Made
from edgekit.bundle.sign import allow
from edgekit.bundle.verify import verify
from edgekit.deliver import apply, compatibility, registry
from edgekit.deliver import plan as deploy_plan
from edgekit.delivering import Wishes
from edgekit.errors import UsageError
from edgekit.fieldwork import (
    Board,
    choose,
    logs,
    prune_releases,
    rollback,
    runtime_wheels,
    status,
)
from edgekit.home import Home
from edgekit.inventory import (
    device_add,
    device_down,
    device_list,
    device_probe,
    device_remove,
    device_ssh,
    device_up,
)
from edgekit.judge import judge
from edgekit.outcome import Analyzed, Benched, Built, Compatibility, Demo, Deployed, Reported, Searched, SearchPlan
from edgekit.report import html as html_report
from edgekit.report import markdown
from edgekit.serving import serve_local, service
from edgekit.spec.device import Device
from edgekit.spec.manifest import Blob, Manifest
from edgekit.spec.progress import Report, quiet
from edgekit.spec.recipe import Recipe
from edgekit.spec.result import Result, Run
from edgekit.spec.target import Facts, Target
from edgekit.spec.task import CLASSIFY, LANGUAGE
from edgekit.stages import Stages, code_digest
from edgekit.tuning import tune

__all__ = [
    "analyze",
    "assess",
    "bench",
    "build",
    "bundle_inspect",
    "bundle_trust",
    "bundle_verify",
    "demo",
    "deploy",
    "device_add",
    "device_down",
    "device_list",
    "device_probe",
    "device_remove",
    "device_ssh",
    "device_up",
    "generate",
    "logs",
    "predict",
    "prune_releases",
    "recipes",
    "report",
    "rollback",
    "search",
    "serve_local",
    "service",
    "status",
    "targets",
    "tune",
    "verdicts",
]

DEMO_RECIPE, DEMO_TARGET = "minilm-int8-demo", "rpi4"
DEMO_TEXTS = (
    "real-time strategy game set in space",
    "library for reading and writing JPEG images",
    "small fast web server with CGI support",
)


def build(
    recipe: str | Path,
    *,
    target: str | None = None,
    device: str | None = None,
    output: Path | None = None,
    overrides: Sequence[str] = (),
    locked: Path | bool = False,
    home: Home | None = None,
    report: Report = quiet,
) -> Built:
    """Compress, convert, check the gates, write a signed bundle.

    Args:
        recipe: a YAML file, or the name of a packaged recipe.
        target: the kind of board the bundle is for; the candidates are measured on the registered device of that kind.
            Without, they are timed on this host and the bundle is for any board.
        device: which device measures them, where several are registered.
        output: the bundle's folder; by default one below the home's ``bundles``.
        overrides: ``dotted.path=value`` settings on top of the recipe.
        locked: refuse to build anything but what this recipe.lock says; ``True`` takes the one beside the recipe, else
            the newest bundle's.

    Raises:
        SpecError: the recipe, its data or its model is not acceptable, or the target cannot run a format or scheme of
        it. BuildError: the build drifted from its lock. GateMissed: no candidate meets the gates.
    """
    home = home or Home.default()
    file = load.recipe_file(recipe, extra=(home.recipes,))
    asked = load.recipe(file, overrides)
    kind = load.target(target, extra=(home.targets,)) if target else None
    if kind:
        compatibility.refuse(asked, kind)
    board = _board_for(asked, kind, device, home)
    kind = load.target(board.target, extra=(home.targets,)) if board else None

    held = lock.find(locked, file, asked.name, home.bundles)
    guard = lock.Guard(lock.read(held) if held else None, held, report)
    guard.recipe(asked, kind.name if kind else None)
    guard.host(CONVERTERS)
    if kind:
        compatibility.refuse(asked, kind)
        # fetched and read now, so that one that does not fit the board is told before anything is trained
        for form in compatibility.runnable(asked, kind):
            runtime_wheels(home, kind, form, report)
    builder = Builder(asked, file.parent, home, report, kind)
    builder.stages.watch = guard.stage
    samples = builder.samples()
    guard.data(samples.digest)
    model = builder.model(samples)
    guard.model(model.key)
    reference, module = builder.compress(model, samples)
    baseline = builder.baseline(reference, samples)
    made = builder.candidates(module, samples)
    candidates = judge(builder.priced(made, baseline, samples, board), asked.gates)
    best = guard.shipped(candidates)
    candidates = tuple(replace(one, shipped=one.name == best) for one in candidates)
    shipped = builder.sure(next(one for one in made if isinstance(one, Made) and one.artifact.name == best), samples)
    folder, digest, manifest = builder.pack(shipped, baseline, samples, kind, output, guard.bundle)
    found = lock.made(
        asked,
        CONVERTERS,
        data=samples.digest,
        model=model.key,
        stages=builder.stages.records,
        shipped=best,
        bundle=digest,
        target=kind.name if kind else None,
    )
    return Built(
        folder,
        digest,
        manifest,
        candidates,
        builder.statistics(shipped, samples),
        tuple(builder.stages.reused),
        tuple(builder.steps),
        lock.write(found, lock.beside(folder)),
    )


def search(
    recipe: str | Path,
    *,
    target: str | None = None,
    device: str | None = None,
    trials: int | None = None,
    engine: str = "local",
    workers: int = 1,
    dry_run: bool = False,
    output: Path | None = None,
    overrides: Sequence[str] = (),
    home: Home | None = None,
    report: Report = quiet,
) -> Searched | SearchPlan:
    """Find the candidate in a recipe's ranges that meets the gates best, build it, and verify it end to end.

    Candidates are priced by a latency table, measured once on the device (without a target, on this host) and kept;
    those that miss a gate by their price or size are not trained. All trials are kept: a search that was interrupted,
    or is asked for more trials, goes on.

    Args:
        target, device, output, overrides: as for :func:`build`.
        trials: how many candidates there shall be in the end, instead of the recipe's ``search.trials``.
        engine: ``local``, or ``ray`` with ``workers`` candidates at once on a Ray cluster.
        dry_run: say what would be drawn from, and no more.

    Raises:
        SpecError: the recipe has no search, or is not acceptable. GateMissed: no candidate meets the gates.
    """
    home = home or Home.default()
    file = load.recipe_file(recipe, extra=(home.recipes,))
    asked = load.recipe(file, overrides)
    wanted = searching.wanted(asked, file)
    count = trials if trials is not None else wanted.trials
    if dry_run:
        return searching.plan(asked, file, count)
    if engine not in searching.ENGINES:
        raise UsageError("no such engine", given=engine, allowed=sorted(searching.ENGINES))
    kind = load.target(target, extra=(home.targets,)) if target else None
    if kind:
        compatibility.refuse(asked, kind)
    board = _board_for(asked, kind, device, home)
    verify = partial(_verified, target=target, device=device, home=home, overrides=tuple(overrides))
    return searching.Searching(asked, file, board, home, verify, report).run(count, engine, workers, output)


def _verified(file: Path, settings: Sequence[str], *, overrides: tuple[str, ...], **asked: Any) -> Built:
    """A candidate of a search, the whole road."""
    return build(file, overrides=(*overrides, *settings), **asked)


def analyze(
    recipe: str | Path,
    *,
    target: str | None = None,
    device: str | None = None,
    html: Path | None = None,
    overrides: Sequence[str] = (),
    home: Home | None = None,
    report: Report = quiet,
) -> Analyzed:
    """The sensitivity scan: the accuracy that each method alone costs at each layer of the recipe's teacher, without
    retraining, on the validation texts; with a target, what it would save there.

    Raises:
        SpecError: the recipe, its data or its model is not acceptable. UsageError: no such device.
    """
    home = home or Home.default()
    file = load.recipe_file(recipe, extra=(home.recipes,))
    asked = load.recipe(file, overrides)
    board = choose(home, target=target, device=device) if target or device else None
    return analyzing.analyze(asked, file, board, home, html, report)


def _board_for(recipe: Recipe, target: Target | None, device: str | None, home: Home) -> Device | None:
    """The device that measures candidates; for a target there must be one, for what ships there is chosen there."""
    if target is not None or device is not None:
        return choose(home, target=target.name if target else None, device=device)
    if recipe.gates.need_device:
        raise UsageError(
            "this recipe's gates are about latency or memory on a board", remedy="name the board: --target rpi4"
        )
    return None


def deploy(
    bundle: str | Path | None = None,
    *,
    target: str | None = None,
    device: str | None = None,
    dry_run: bool = False,
    service: bool = False,
    listen: str = "",
    token_file: Path | None = None,
    home: Home | None = None,
    report: Report = quiet,
) -> Deployed:
    """Put a bundle on a device: send what is missing, switch, check its health there, confirm or go back.

    Without ``bundle`` the newest one built for the device's target is taken. With ``dry_run`` the agent is put there to
    ask it, and no more: no release, blob or runtime changes. With ``service`` the device serves it from then on, also
    after a restart; ``listen`` and ``token_file`` as for :func:`service`. A service that runs takes the new release by
    itself.

    Raises:
        UsageError: nothing, or several, to choose from. BundleError: not signed by a trusted key, or damaged.
        PreflightError: the device cannot take it. TransportError: the connection failed; the old release stays.
        RolledBack: the health check failed and the device went back.
    """
    home = home or Home.default()
    chosen = choose(home, target=target, device=device)
    wishes = Wishes(dry_run=dry_run, service=service, listen=listen, token=serving.read_token(token_file))
    cargo = delivering.load_cargo(home, shelf.bundle(home, bundle, chosen.target), chosen.target, report)
    return delivering.deliver(home, chosen, cargo, wishes, report)


def bench(
    bundle: str | Path | None = None,
    *,
    target: str | None = None,
    device: str | None = None,
    samples: int = bench_plan.SAMPLES,
    compare: str | None = None,
    reuse: bool = False,
    home: Home | None = None,
    report: Report = quiet,
) -> Benched:
    """Measure a bundle's baseline and optimized artifact side by side on a device, and write the report.

    An emulated board is (re)started with the counting clock, so that its figures repeat; with ``reuse`` those had
    before for the same bundle, by the same code on the same kind of board, are taken from the cache.

    Raises:
        UsageError: nothing, or several, to choose from; too few samples; results that cannot be compared.
        BundleError, PreflightError, TransportError: as :func:`deploy`.
    """
    home = home or Home.default()
    chosen = choose(home, target=target, device=device)
    folder = shelf.bundle(home, bundle, chosen.target)
    before = history.load(home.history, compare, chosen.target) if compare else None
    manifest, digest = verify(folder, home.keys / "trusted")
    with Board(home, chosen, report) as board:
        if reuse and board.repeatable:
            inputs = {
                "bundle": digest,
                "samples": samples,
                "board": board.identity,
                "code": code_digest("agent", "spec", "benchmark"),
            }
            stages = Stages(home.cache / "stages", report)
            kept = stages.run(
                "bench",
                inputs,
                lambda part: history.save(_measured(board, folder, manifest, digest, samples, report), part),
            )
            result = history.load(kept)
            if any(run.measured is None for run in result.runs):
                stages.forget(kept)  # the next benchmark tries again
        else:
            result = _measured(board, folder, manifest, digest, samples, report)
    kept = history.save(result, home.history)
    files = {
        "result": kept,
        "markdown": markdown.write(result, kept.with_suffix(".md")),
        "html": html_report.write(result, kept.with_suffix(".html")),
    }
    return Benched(result, files, before, lines(result))


def _measured(board: Board, folder: Path, manifest: Manifest, digest: str, samples: int, report: Report) -> Result:
    """Ship what the benchmark needs, and run it."""
    rows = [json.loads(line) for line in bundles.blob_file(folder, manifest.samples).read_text().splitlines()]
    agent = board.agent
    facts = agent.call("facts", None, Facts)
    jobs = bench_plan.jobs(manifest, clock="counted" if facts.counted_clock else "wall", samples=samples)
    runtimes: dict[str, str] = {one.format: board.runtime(one.format) for one in manifest.artifacts}
    sources = apply.files(folder, manifest, Blob(digest, (folder / "manifest.json").stat().st_size))
    apply.ship(agent, deploy_plan.bench_blobs(manifest), sources, report)
    return bench_run.run(
        jobs,
        manifest,
        bundle=digest,
        device=board.device,
        facts=facts,
        runtimes=runtimes,
        measure=lambda request: agent.call("measure", request, Run, report),
        truth=[row["label"] for row in rows],
        # where words are labelled or texts embedded, no number stands for an answer
        host_labels=[row["answer"] for row in rows] if manifest.optimized.task in (CLASSIFY, LANGUAGE) else [],
        report=report,
    )


def report(
    results: Sequence[str] = (), *, html: Path | None = None, home: Home | None = None, report: Report = quiet
) -> Reported:
    """A kept result (the newest, where none is named), or two side by side; ``html`` writes a page with plots.

    Raises:
        UsageError: no such result, or two that cannot be compared. SpecError: a damaged file.
    """
    home = home or Home.default()
    if len(results) > 2:
        raise UsageError("one result is shown, two are compared", given=len(results), allowed="0, 1 or 2")
    before = history.load(home.history, results[0]) if len(results) == 2 else None
    after = history.load(home.history, results[-1] if results else None)
    page = html_report.write(after, html) if html else None
    return Reported(after, html=page, before=before, rows=lines(after))


def targets(*, home: Home | None = None, report: Report = quiet) -> tuple[Target, ...]:
    """All kinds of boards that are known: edgekit's, and those in the home's ``targets``."""
    return load.targets(extra=((home or Home.default()).targets,))


def verdicts(*, home: Home | None = None, report: Report = quiet) -> Compatibility:
    """All known kinds of boards, and what each runs of the formats and schemes there are."""
    known = targets(home=home, report=report)
    return Compatibility(known, compatibility.table(known))


def recipes(*, home: Home | None = None, report: Report = quiet) -> tuple[tuple[Path, Recipe], ...]:
    """All known recipes with their files: edgekit's, and those in the home's ``recipes``."""
    return load.recipes(extra=((home or Home.default()).recipes,))


def bundle_inspect(bundle: str | Path, *, home: Home | None = None, report: Report = quiet) -> Manifest:
    """What a bundle says of itself; trust is not checked."""
    return bundles.read(shelf.bundle(home or Home.default(), bundle, None))[0]


def bundle_verify(bundle: str | Path, *, home: Home | None = None, report: Report = quiet) -> Manifest:
    """A bundle's manifest, after its signature and every byte of it were checked. Raises BundleError."""
    home = home or Home.default()
    return verify(shelf.bundle(home, bundle, None), home.keys / "trusted")[0]


def bundle_trust(key_file: str | Path, *, home: Home | None = None, report: Report = quiet) -> str:
    """Trust bundles that this OpenSSH public key signed; gives its SHA256 fingerprint. Raises UsageError for no key."""
    home = home or Home.default()
    return allow(home.keys / "trusted", Path(key_file))


def demo(*, home: Home | None = None, report: Report = quiet) -> Demo:
    """All of it on an emulated Raspberry Pi 4: build, deploy, bench, predict. The board is switched off at the end."""
    home = home or Home.default()
    name = f"{DEMO_TARGET}-demo"
    board = device_up(DEMO_TARGET, name=name, clock="counted", home=home, report=report)
    try:
        built = build(DEMO_RECIPE, target=DEMO_TARGET, device=board.name, home=home, report=report)
        deployed = deploy(built.bundle, device=board.name, home=home, report=report)
        benched = bench(built.bundle, device=board.name, reuse=True, home=home, report=report)
        answers = predict(DEMO_TEXTS, device=board.name, home=home, report=report)
    finally:
        # forgotten, or 'the only board of target rpi4' would be this one; its disk stays for the next demo
        device_down(name, home=home, report=report)
        registry.remove(home.devices, name)
    return Demo(built, deployed, benched, answers)
