"""What a benchmark measures, in which order: pure decisions, no device."""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.errors import UsageError
from edgekit.spec.device import Clock
from edgekit.spec.manifest import Manifest
from edgekit.spec.result import Job, Solution

OPTIMIZED, BASELINE = "optimized", "baseline"
SAMPLES = 64
#: On a counted clock a text padded to a fixed length costs the model the same as any other: a few of them tell it.
PADDED_SAMPLES = 4
#: Fresh processes a solution: on a counted clock one repeats within 1 %, on a wall clock neighbours and heat do not.
REPEATS: dict[Clock, int] = {"counted": 1, "wall": 3}


def percentile_needs(percentile: float, confidence: float = 0.99) -> int:
    """The least number of samples that carries a claim about a percentile (0.9 → 64, 0.99 → 662).

    The early-stopping criterion of MLPerf Inference with one query allowed over: the least n for which a
    Binomial(n, 1 − p) count is at most 1 with a probability of at most ``1 - confidence``.
    """
    if not 0.0 < percentile < 1.0 or not 0.0 < confidence < 1.0:
        raise UsageError(
            "a percentile lies between 0 and 1", given=f"{percentile} at {confidence}", allowed="0.5, 0.9, …"
        )
    p, n = percentile, 1
    while p**n + n * (1 - p) * p ** (n - 1) > 1 - confidence:
        n += 1
    return n


def padded(length: int) -> str:
    """The name of the solution that pads every text to ``length`` tokens."""
    return f"padded-{length}"


def jobs(
    manifest: Manifest,
    *,
    clock: Clock,
    samples: int = SAMPLES,
    counts: Mapping[str, int] | None = None,
    repeats: int | None = None,
    warmup: int = 4,
    threads: int = 1,
) -> tuple[Job, ...]:
    """Baseline, optimized and the baseline padded to its longest length, in turn, for ``repeats`` processes each.

    ``counts`` gives single solutions their own number of samples; on a counted clock the padded baseline takes few. A
    manifest without a baseline is measured alone. Raises UsageError for a count under one or a solution that is not
    there.
    """
    optimized, baseline = manifest.optimized, manifest.baseline
    wanted: list[tuple[str, str, int | None]] = [(OPTIMIZED, optimized.name, None)]
    if baseline is not None:
        longest = baseline.lengths[-1]
        wanted = [(BASELINE, baseline.name, None), *wanted, (padded(longest), baseline.name, longest)]
    counts = dict(counts or {})
    unknown = sorted(set(counts) - {name for name, _, _ in wanted})
    if unknown:
        raise UsageError("no such solution in this bundle", given=unknown[0], allowed=[name for name, _, _ in wanted])
    repeats = REPEATS[clock] if repeats is None else repeats
    for given, what in ((samples, "samples"), (repeats, "repeats"), *((one, "samples") for one in counts.values())):
        if given < 1:
            raise UsageError(f"too few {what}", given=given, allowed="1 or more")
    once = []
    for name, artifact, pad_to in wanted:
        few = clock == "counted" and pad_to is not None
        count = counts.get(name, min(samples, PADDED_SAMPLES) if few else samples)
        once.append(Job(name, artifact, pad_to, count, min(warmup, 1) if few else warmup, threads))
    return tuple(once) * repeats


def solutions(manifest: Manifest, planned: tuple[Job, ...]) -> tuple[Solution, ...]:
    """What stands behind each solution's name, in the order of their first job."""
    artifacts = {one.name: one for one in manifest.artifacts}
    first = {one.solution: one for one in reversed(planned)}
    return tuple(
        Solution(
            name=name,
            artifact=artifact.name,
            format=artifact.format,
            scheme=artifact.scheme,
            size=artifact.blob.size,
            parameters=artifact.parameters,
            accuracy=artifact.accuracy,
            accuracy_samples=artifact.accuracy_samples,
            perplexity=artifact.perplexity,
        )
        for name in dict.fromkeys(one.solution for one in planned)
        for artifact in [artifacts[first[name].artifact]]
    )
