"""Everything that is decided about integers before a file is written: the module's new weights, and the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgekit.convert import faked, mixed, observe, ranges, rounding, smooth
from edgekit.convert.graph import linears
from edgekit.convert.histogram import Histogram
from edgekit.convert.job import Job
from edgekit.convert.module import Classifier
from edgekit.convert.quantize import PRECISION, Plan, Precision, check_blocks
from edgekit.convert.tokens import tokenize
from edgekit.errors import BuildError, MissingExtra
from edgekit.models import grid
from edgekit.spec.quantize import Calibration
from edgekit.spec.scheme import STATIC, WEIGHT_BITS
from edgekit.spec.task import LANGUAGE

try:
    import torch
except ImportError as error:
    raise MissingExtra("torch", "host") from error


@dataclass(frozen=True)
class Prepared:
    """``changed`` says whether the module's weights are others than the checkpoint's, so that it must be exported."""

    plan: Plan
    changed: bool


def prepare(job: Job, classifier: Classifier) -> Prepared:
    """Smooth, round, calibrate, choose precisions and correct biases, in this order, as the job's scheme has it.

    Raises BuildError where a pattern names no product, weights cannot be cut into the blocks asked for, or the
    checkpoint's own trained grid forbids what is asked.
    """
    asked = job.quantization
    ids = tokenize(job.checkpoint, job.texts, job.lengths[-1]) if job.texts else []
    modules = linears(classifier)
    kept = {**_of_language(classifier, modules), **mixed.named(modules, asked.mixed)}
    if job.scheme != STATIC:
        # the others are no less precise than dynamic
        kept = {name: one for name, one in kept.items() if one == "float"}
    plan = Plan(job.scheme, asked, kept, integer_results=job.integer_results)
    if PRECISION[job.scheme] not in ("static", "dynamic", "weight"):
        return Prepared(replace(plan, precisions={}), changed=False)
    check_blocks({name: one.in_features for name, one in modules.items()}, plan)
    trained = grid.read(job.checkpoint) if job.scheme == STATIC else None
    if trained is not None:
        return Prepared(_trained(job, classifier, plan, trained), changed=False)
    quantized = [name for name in modules if plan.precision(name) != "float"]
    changed = False
    if asked.smooth is not None:
        # an output that is the word embedding again would change what words mean
        tables = {id(one.weight) for one in classifier.modules() if isinstance(one, torch.nn.Embedding)}
        free = [name for name in quantized if id(modules[name].weight) not in tables]
        smooth.smooth_(classifier, ids, asked.smooth, free)
        changed = True
    if asked.rounding != "nearest" and WEIGHT_BITS[job.scheme] == 8:
        plan = _rounded_(job, classifier, ids, plan, quantized)
        changed = True
    if job.scheme == STATIC:
        plan = _calibrated(job, classifier, ids, plan)
    if asked.bias_correction:
        _correct_biases_(classifier, ids, plan, quantized)
        changed = True
    return Prepared(plan, changed)


def _of_language(classifier: Classifier, modules: Mapping[str, torch.nn.Linear]) -> dict[str, Precision]:
    """A language model's output has no one scale that all next tokens could be told by: its logits lie close together,
    far from zero."""
    if classifier.task != LANGUAGE:
        return {}
    output = classifier.family.head(classifier.model).classifier
    return {name: "dynamic" for name, one in modules.items() if one is output}


def _trained(job: Job, classifier: Classifier, plan: Plan, trained: grid.Grid) -> Plan:
    asked = job.quantization
    if asked.smooth is not None or asked.rounding != "nearest" or asked.bias_correction:
        raise BuildError(
            "this checkpoint's weights were trained for a grid of their own, and would leave it",
            where=f"tflite/{STATIC}",
            given="smooth, rounding or bias_correction",
            remedy="leave these out of convert.quantization, or leave out the quantization-aware step",
        )
    if not trained.fits(classifier.model):
        raise BuildError(
            "the grid beside this checkpoint was trained with other weights",
            where=str(job.checkpoint / grid.FILE),
            remedy="let the quantization-aware step be the last one",
        )
    # those it spared, and those that the export derives from others
    spared: dict[str, Precision] = {name: "dynamic" for name in linears(classifier) if name not in trained.products}
    return replace(
        plan,
        precisions={**spared, **plan.precisions},
        inputs={name: one.input for name, one in trained.products.items()},
        outputs={name: one.output for name, one in trained.products.items()},
    )


def _calibrated(job: Job, classifier: Classifier, ids: Sequence[Sequence[int]], plan: Plan) -> Plan:
    entering, leaving = observe.histograms(classifier, ids, job.report)
    fixed = set(plan.precisions)
    plan = ranged(plan, entering, leaving, smooth.readers(classifier, ids), job.calibration)
    if job.quantization.mixed.sensitivity is None:
        return plan
    return replace(plan, precisions=mixed.sensitive(classifier, ids, plan, fixed, job.report))


def ranged(
    plan: Plan,
    entering: Mapping[str, Histogram],
    leaving: Mapping[str, Histogram],
    groups: Sequence[Sequence[str]],
    calibration: Calibration,
) -> Plan:
    """The plan with the ranges of what goes into its products and what comes out; those in a group read one tensor.
    Products that would keep too few dB on them go dynamic, unless the plan has them otherwise."""
    symmetric = plan.quantization.activations == "symmetric"
    reach = {name: ranges.find(one, calibration, symmetric) for name, one in entering.items()}
    plan = replace(
        plan,
        inputs=_shared(reach, groups),
        outputs={name: ranges.find(one, calibration, symmetric) for name, one in leaving.items()},
    )
    return replace(plan, precisions={**mixed.unfaithful(entering, leaving, plan), **plan.precisions})


def _shared(inputs: dict[str, ranges.Range], groups: Sequence[Sequence[str]]) -> dict[str, ranges.Range]:
    """One range for all that read one tensor, the widest: in layers that share their weights a product may be called
    without its neighbours, and so have seen more than they."""
    found = dict(inputs)
    for _ in groups:
        before = dict(found)
        for group in groups:
            lows, highs = zip(*(found[name] for name in group), strict=True)
            found.update(dict.fromkeys(group, (min(lows), max(highs))))
        if found == before:
            break
    return found


def _rounded_(
    job: Job, classifier: Classifier, ids: Sequence[Sequence[int]], plan: Plan, quantized: Sequence[str]
) -> Plan:
    """Put the weights on their grid, in place; the plan then names its scales: the file holds these very integers."""
    generator = torch.Generator().manual_seed(job.seed)
    moments = observe.moments(classifier, ids) if job.quantization.rounding == "learned" else {}
    scales = {}
    for number, name in enumerate(quantized, 1):
        linear = linears(classifier)[name]
        weight = linear.weight.detach()
        scale = faked.scales(weight, job.quantization.weights)
        if job.quantization.rounding == "learned":
            rounded = rounding.learned(weight, scale, moments[name])
        else:
            rounded = rounding.stochastic(weight, scale, generator)
        linear.weight.data = rounded
        scales[name] = scale.numpy()
        job.report(f"rounding {len(quantized)} weights ({job.quantization.rounding})", number / len(quantized))
    return replace(plan, scales=scales)


def _correct_biases_(
    classifier: Classifier, ids: Sequence[Sequence[int]], plan: Plan, quantized: Sequence[str]
) -> None:
    """Take each product's mean error on the texts, its inputs being right, out of its bias, in place (Nagel 2019)."""
    modules = linears(classifier)
    errors: dict[str, torch.Tensor] = {}
    rows: dict[str, int] = {}

    def compare(name: str, entering: torch.Tensor, leaving: torch.Tensor) -> None:
        if name in quantized:
            given = faked.product(modules[name], entering, name, plan.precision(name), plan)
            error = (given - leaving).reshape(-1, leaving.shape[-1])
            errors[name] = errors.get(name, 0.0) + error.double().sum(0)
            rows[name] = rows.get(name, 0) + len(error)

    observe.watch(classifier, ids, compare)
    for name, total in errors.items():
        bias, correction = modules[name].bias, (total / rows[name]).float()
        bare = torch.zeros_like(correction) if bias is None else bias.detach()
        modules[name].bias = torch.nn.Parameter(bare - correction, requires_grad=False)
