"""What cannot run where, and why, before anything is trained: target × format × scheme. Pure.

A runtime is refused by the target's own word, by a flag of the CPU that its code uses and the board lacks (it would die
of SIGILL), by the memory it takes; a scheme by what the runtime lacks. glibc, Python ABI and machine of the wheels are
read when these are fetched (``wheels.check``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgekit.deliver.preflight import RUNTIMES, runtime_for, unfit
from edgekit.errors import SpecError
from edgekit.spec.recipe import Recipe
from edgekit.spec.scheme import FORMAT_SCHEMES
from edgekit.spec.target import Target, Verdict


def verdict(target: Target, format: str, scheme: str) -> Verdict:
    """The first runtime that runs it, or every runtime's reason."""
    if scheme not in FORMAT_SCHEMES.get(format, ()):
        return Verdict(target.name, format, scheme, refused=f"{format} cannot hold it")
    reasons = {}
    for name in RUNTIMES[format]:
        reasons[name] = _reason(target, name, scheme)
        if not reasons[name]:
            return Verdict(target.name, format, scheme, name)
    said = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    return Verdict(target.name, format, scheme, refused=said)


def reader(target: Target, format: str) -> str | None:
    """The runtime that files for the target are written for; ``None`` for the newest of the format, which reads all.

    Raises PreflightError where the target runs no such files."""
    name = runtime_for(target, format)
    return None if name == RUNTIMES[format][0] else name


def table(targets: Iterable[Target]) -> tuple[Verdict, ...]:
    """All that a format can hold, for every target."""
    return tuple(
        verdict(target, format, scheme)
        for target in targets
        for format, schemes in FORMAT_SCHEMES.items()
        for scheme in schemes
    )


def refuse(recipe: Recipe, target: Target) -> None:
    """Raise SpecError where the target runs none of the recipe's schemes in a format, or a scheme in none of its
    formats, with every reason; where ``convert.unfit`` lets them be dropped, only if nothing is left. One pair that
    does not run is only left out of the candidates, and told there."""
    wanted = recipe.convert
    cells = _cells(recipe, target)
    asked = list(cells)
    runs = [pair for pair, one in cells.items() if one.runtime]
    if runs and wanted.unfit == "drop":
        return
    formats = [form for form in wanted.formats if form in {one for one, _ in runs}]
    schemes = [scheme for scheme in wanted.schemes if scheme in {one for _, one in runs}]
    kept: Sequence[str]
    if len(formats) < len(wanted.formats):
        where, kept = "$.convert.formats", formats
    elif len(schemes) < len({scheme for _, scheme in asked}):
        where, kept = "$.convert.schemes", schemes
    else:
        return
    lost = [one for pair, one in cells.items() if pair[0] not in formats or pair[1] not in schemes]
    name = where.removeprefix("$.")
    raise SpecError(
        "\n".join(
            [
                f"target {target.name} cannot run what the recipe asks for:",
                *(f"  - {one.format}/{one.scheme}: {one.refused}" for one in lost),
            ]
        ),
        where=where,
        given=", ".join(f"{one.format}/{one.scheme}" for one in lost),
        allowed=", ".join(f"{one.format}/{one.scheme}" for one in table([target]) if one.runtime) or "nothing",
        remedy=f"leave it out: --set '{name}=[{', '.join(kept)}]'"
        if kept
        else "take another target: 'edgekit targets --compatibility'",
    )


def runnable(recipe: Recipe, target: Target) -> tuple[str, ...]:
    """The recipe's formats of which the target runs a scheme that is asked for."""
    runs = {form for (form, _), one in _cells(recipe, target).items() if one.runtime}
    return tuple(form for form in recipe.convert.formats if form in runs)


def _cells(recipe: Recipe, target: Target) -> dict[tuple[str, str], Verdict]:
    wanted = recipe.convert
    pairs = [(form, scheme) for form in wanted.formats for scheme in wanted.schemes if scheme in FORMAT_SCHEMES[form]]
    return {pair: verdict(target, *pair) for pair in pairs}


def _reason(target: Target, runtime: str, scheme: str) -> str:
    """Why a runtime does not run a scheme on a target; empty where it does."""
    unable = unfit(target, runtime)
    if unable:
        return unable
    return next((why for one, why in target.runtimes[runtime].lacks.items() if one == scheme), "")
