"""How one candidate did: its figures, the gates it misses, and by how much. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgekit.errors import GateMissed
from edgekit.spec.recipe import Gates
from edgekit.spec.trial import Option, Trial


def missed(option: Option, gates: Gates, slack: float = 0.0) -> dict[str, float]:
    """By how much each known figure is beyond its gate; ``slack`` is the share of the bound that is let pass, where a
    figure is a price and no measurement yet. Peak memory is only known on the board."""
    found = {}
    if gates.accuracy_drop is not None and option.drop is not None and option.drop > gates.accuracy_drop:
        found["accuracy_drop"] = option.drop - gates.accuracy_drop
    for name, reached, bound, share in (
        ("size_mb", option.size / 1e6, gates.size_mb, 0.0),
        ("latency_ms", option.latency_ms, gates.latency_ms, slack),
    ):
        if bound is not None and reached > bound * (1 + share):
            found[name] = reached / bound - 1 if bound else reached
    return {name: round(value, 6) for name, value in found.items()}


def best(options: Sequence[Option], gates: Gates) -> Option | None:
    """The quickest that meets the gates, of equally quick ones the smaller; where none meets them the nearest."""
    whole = [one for one in options if one.failure is None]
    if not whole:
        return None
    return min(whole, key=lambda one: (sum(missed(one, gates).values()), one.latency_ms, one.size, one.name))


def describe(option: Option, gates: Gates) -> str:
    """The gates it misses, in words."""
    figures = {
        "accuracy_drop": (option.drop, "accuracy drop", "points"),
        "size_mb": (option.size / 1e6, "size", "MB"),
        "latency_ms": (option.latency_ms, "latency", "ms"),
    }
    parts = []
    for gate in missed(option, gates):
        reached, name, unit = figures[gate]
        parts.append(f"{name} {reached:.2f} {unit}, allowed {getattr(gates, gate):g} {unit}")
    return "; ".join(parts)


def costs(trial: Trial, objectives: Sequence[str]) -> tuple[float, ...]:
    """What is to be made small; of accuracy its distance from 100 %."""
    option = trial.option
    assert option is not None
    figures = {
        "accuracy": 100.0 - (option.accuracy or 0.0),
        "latency": option.latency_ms,
        "size": option.size / 1e6,
    }
    return tuple(figures[one] for one in objectives)


def none_feasible(trials: Iterable[Trial], gates: Gates) -> GateMissed:
    """The error that says which candidate came nearest, which gate it misses, and by how much."""
    known = [one for one in trials if one.option is not None and one.missed]
    trained = [one for one in known if one.state == "trained"]
    if not known:
        reasons = "; ".join(dict.fromkeys(one.reason for one in trials)) or "no candidate was drawn"
        return GateMissed("no candidate could be made", given=reasons, remedy="widen the ranges")
    # one that was not trained might lose any accuracy: only where nothing was trained it is the nearest
    nearest = min(trained or known, key=lambda one: (sum((one.missed or {}).values()), one.number))
    assert nearest.option is not None
    told = describe(nearest.option, gates)
    settings = ", ".join(f"{path} = {value}" for path, value in nearest.settings.items())
    return GateMissed(
        f"no candidate meets the gates; the nearest is trial {nearest.number} ({nearest.option.name}): {told}",
        given=settings,
        remedy="loosen that gate, widen the ranges, or draw more trials (--trials)",
        details={"nearest": nearest.number, "missed": nearest.missed or {}, "settings": nearest.settings},
    )
