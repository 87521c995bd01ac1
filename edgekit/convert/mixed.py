"""Mixed precision: which matrix products keep more than the scheme gives, by rule and by measurement."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from edgekit.convert import faked, observe, ranges
from edgekit.convert.graph import linears
from edgekit.convert.histogram import Histogram
from edgekit.convert.module import Classifier
from edgekit.convert.quantize import Plan, Precision
from edgekit.errors import BuildError, nearest
from edgekit.spec.progress import Report, quiet
from edgekit.spec.quantize import Mixed
from edgekit.spec.scheme import STATIC

#: Texts that sensitivities are measured on: two runs a product and text.
TEXTS = 64
#: What a weight costs in bytes when its product leaves static int8: an island in float pays for four times the
#: storage and runs slower, so it must bring as many times more.
COSTS: dict[Precision, float] = {"dynamic": 1.0, "float": 4.0}


def named(modules: Collection[str], mixed: Mixed) -> dict[str, Precision]:
    """The products that the recipe's patterns name. Raises BuildError where a pattern names none."""
    found: dict[str, Precision] = {}
    rules: dict[Precision, tuple[str, ...]] = {"float": mixed.float32, "dynamic": mixed.dynamic}
    for precision, patterns in rules.items():
        for pattern in patterns:
            matching = [one for one in modules if fnmatchcase(one, pattern)]
            if not matching:
                raise BuildError(
                    "no matrix product of this model has such a name",
                    where="$.convert.quantization.mixed",
                    given=pattern,
                    remedy=nearest(pattern.strip("*."), modules),
                )
            for one in matching:
                if found.setdefault(one, precision) != precision:
                    raise BuildError(
                        "a product is float or dynamic, not both",
                        where="$.convert.quantization.mixed",
                        given=one,
                    )
    return found


def unfaithful(inputs: Mapping[str, Histogram], outputs: Mapping[str, Histogram], plan: Plan) -> dict[str, Precision]:
    """The products that go dynamic because their input, or their output where that is int8 too, would keep too few dB
    on the plan's ranges."""
    bound, symmetric = plan.quantization.mixed.fidelity, plan.quantization.activations == "symmetric"
    kept = {name: ranges.fidelity(inputs[name], plan.inputs[name], symmetric) for name in inputs}
    if plan.integer_results:
        for name in inputs:
            kept[name] = min(kept[name], ranges.fidelity(outputs[name], plan.outputs[name], symmetric))
    return {name: "dynamic" for name, one in kept.items() if one < bound}


def sensitive(
    classifier: Classifier, ids: Sequence[Sequence[int]], plan: Plan, fixed: Collection[str], report: Report = quiet
) -> dict[str, Precision]:
    """Move products out of static int8, greedily, until the logits keep ``mixed.sensitivity`` dB.

    Each product's noise in the logits is measured alone, static and dynamic; the move that takes away the most noise
    per byte comes first. ``fixed`` products stay as the plan has them.

    Returns: every precision that differs from static, those of the plan included. Raises BuildError where the budget is
    missed with everything in float that may be.
    """
    budget = plan.quantization.mixed.sensitivity
    assert budget is not None
    texts = ids[:TEXTS]
    true = observe.logits(classifier, texts)
    weights = {name: one.weight.numel() for name, one in linears(classifier).items()}
    state: dict[str, Precision] = {name: plan.precision(name) for name in weights}
    free = [name for name in weights if name not in fixed]
    noise = _alone(classifier, texts, plan, true, free, report)
    while (reached := _decibels(true, _noise(classifier, texts, plan, state, true))) < budget:
        moves: list[tuple[str, Precision]] = [
            (name, to) for name in free for to in _finer(state[name]) if noise[name, to] < noise[name, state[name]]
        ]
        if not moves:
            raise BuildError(
                "the sensitivity asked for cannot be reached",
                where=f"tflite/{STATIC}",
                given=f"{budget:g} dB",
                allowed=f"up to {math.floor(reached)} dB with these calibration texts",
                remedy="lower convert.quantization.mixed.sensitivity, or keep fewer products by name",
            )
        name, to = max(
            moves, key=lambda one: (noise[one[0], state[one[0]]] - noise[one]) / (weights[one[0]] * COSTS[one[1]])
        )
        state[name] = to
        report(f"mixed precision: {reached:.1f} of {budget:g} dB", None)
    return {name: one for name, one in state.items() if one != "static"}


def _alone(
    classifier: Classifier,
    texts: Sequence[Sequence[int]],
    plan: Plan,
    true: np.ndarray,
    free: Sequence[str],
    report: Report,
) -> dict[tuple[str, Precision], float]:
    found: dict[tuple[str, Precision], float] = {}
    for number, name in enumerate(free, 1):
        for precision in ("static", "dynamic"):
            found[name, precision] = _noise(classifier, texts, plan, {name: precision}, true)
        found[name, "float"] = 0.0
        report(f"measuring the sensitivity of {len(free)} products", number / len(free))
    return found


def _finer(precision: Precision) -> tuple[Precision, ...]:
    steps: dict[Precision, tuple[Precision, ...]] = {"static": ("dynamic", "float"), "dynamic": ("float",)}
    return steps.get(precision, ())


def _noise(
    classifier: Classifier,
    texts: Sequence[Sequence[int]],
    plan: Plan,
    precisions: Mapping[str, Precision],
    true: np.ndarray,
) -> float:
    with faked.faked(classifier, precisions, replace(plan, precisions=precisions)):
        return float(np.square(observe.logits(classifier, texts) - true).mean())


def _decibels(true: np.ndarray, noise: float) -> float:
    return 10.0 * math.log10(float(np.square(true).mean()) / noise) if noise > 0.0 else math.inf
