"""``edgekit search``: the best candidate in a recipe's ranges becomes a bundle."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, add_output, add_settings, count, home, verb
from edgekit.cli.paper import figure, megabytes, short, table

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Searched, SearchPlan


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "search", "find the best candidate in a recipe's ranges, and build it", run, show)
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe with a section 'search': a YAML file or a name")
    add_device(parser)
    parser.add_argument("--trials", type=count, metavar="N", help="how many candidates there shall be in the end")
    parser.add_argument("--engine", default="local", metavar="NAME", help="local, or ray: a Ray cluster")
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="candidates at once on the cluster")
    parser.add_argument("--dry-run", action="store_true", help="say what would be drawn from, and no more")
    add_output(parser)
    add_settings(parser, "search.random=4")


def run(args: Namespace, progress: Progress) -> Searched | SearchPlan:
    from edgekit import pipeline

    return pipeline.search(
        args.recipe,
        target=args.target,
        device=args.device,
        trials=args.trials,
        engine=args.engine,
        workers=args.workers,
        dry_run=args.dry_run,
        output=args.output,
        overrides=tuple(args.overrides),
        home=home(args),
        report=progress,
    )


def show(args: Namespace, found: Searched | SearchPlan, paper: Console) -> None:
    if args.dry_run:
        _show_plan(found, paper)  # type: ignore[arg-type]
    else:
        _show_trials(found, paper)  # type: ignore[arg-type]


def _show_plan(plan: SearchPlan, paper: Console) -> None:
    paper.print(table("Ranges", ("value", "may be"), [(one.path, one.values) for one in plan.ranges]))
    there = "endless" if plan.combinations is None else str(plan.combinations)
    gates = ", ".join(f"{name} {value:g}" for name, value in plan.gates.items()) or "none"
    paper.print(f"{there} candidates, of which {plan.trials} would be drawn; gates: {gates}")


def _show_trials(found: Searched, paper: Console) -> None:
    from edgekit.report.searched import short_names, verdict

    rows = []
    for one in found.trials:
        it = one.option
        mark = {found.winner: "→", found.knee: "knee"}.get(one.number, "front" if one.number in found.front else "")
        rows.append(
            (
                mark,
                one.number,
                one.state,
                it.name if it else None,
                figure(it.accuracy) if it else None,
                figure(it.drop) if it else None,
                figure(it.latency_ms, 3) if it else None,
                megabytes(it.size) if it else None,
            )
        )
    columns = ("", "trial", "state", "file", "%", "drop", "ms/text", "size")
    paper.print(table("Trials, and their accuracy", columns, rows, right=columns[4:]))
    names = short_names(path for one in found.trials for path in one.settings)
    for one in found.trials:
        values = ", ".join(f"{names[path]} {json.dumps(value)}" for path, value in one.settings.items())
        paper.print(f"{one.number}: {values}: {verdict(one)}")
    if found.measured_ms is not None:
        paper.print(
            f"predicted {found.predicted_ms:.3f} ms, measured {found.measured_ms:.3f} ms: {found.error:+.1%} off"
        )
    for kind, file in found.files.items():
        paper.print(f"{kind}: {file}")
    if found.built:
        paper.print(f"bundle {short(found.built.digest)} ({found.built.manifest.name}): {found.built.bundle}")
