"""What training takes of memory, estimated before it starts: refused in words rather than killed by the system."""

from __future__ import annotations

from pathlib import Path

from edgekit.compress.devices import gpus
from edgekit.errors import BuildError
from edgekit.models.structure import Structure
from edgekit.spec.task import LANGUAGE
from edgekit.spec.training import Training

#: Bytes a trained parameter takes besides its weight: gradient, and AdamW's two moments, all float32.
OPTIMIZER = 12
#: Numbers kept for the backward pass, by token and layer: as many times the hidden width, the heads' width, the
#: feed-forward width, and the length for each head.
HIDDEN, HEADS, FEED_FORWARD, MAPS = 8, 4, 3, 3
#: A language model's logits of each token, the teacher's, and what their losses and gradients are computed from.
LOGITS = 6
CONTROL = Path("/sys/fs/cgroup")


def check(structure: Structure, parameters: int, plan: Training, longest: int) -> None:
    """Raise BuildError where training ``parameters`` on batches of texts of ``longest`` tokens needs more memory than
    there is."""
    needed, there = estimate(structure, parameters, plan, longest), available()
    if there is None or needed <= there:
        return
    fitting = max(0, there - parameters * kept(plan)) // each(structure, plan, longest)
    remedy = "take a smaller model, or a machine with more memory"
    if fitting:
        remedy = f"lower batch to {fitting} or less, and raise accumulate as much: the steps stay the same"
    raise BuildError(
        "training does not fit into memory",
        where="$.compress batch",
        given=f"batch {plan.batch}, {parameters / 1e6:.1f} million parameters, {longest} tokens: "
        f"about {needed / 1e9:.1f} GB",
        allowed=f"{there / 1e9:.1f} GB are available",
        remedy=remedy,
    )


def estimate(structure: Structure, parameters: int, plan: Training, longest: int) -> int:
    """Bytes beyond the loaded weights: gradients, AdamW's moments, the weights' mean where there is one, and what the
    backward pass keeps of one batch."""
    return parameters * kept(plan) + plan.batch * each(structure, plan, longest)


def kept(plan: Training) -> int:
    """Bytes a trained parameter takes besides its weight; the mean of the weights is one more number."""
    return OPTIMIZER + (4 if plan.average else 0)


def each(structure: Structure, plan: Training, longest: int) -> int:
    """Bytes that the backward pass keeps of one text (after Korthikanti et al. 2022, for any widths)."""
    numbers = 0
    for layer in structure.layers:
        numbers += HIDDEN * structure.hidden + HEADS * layer.heads * structure.head_size
        numbers += FEED_FORWARD * layer.ffn + MAPS * layer.heads * longest
    size = longest * numbers * (4 if plan.precision == "float32" else 2)
    return size + (4 * longest * LOGITS * structure.vocabulary if structure.task == LANGUAGE else 0)


def available() -> int | None:
    """Bytes of the machine that can still be had, within this process group's limit; ``None`` where the system does not
    say, or a GPU trains: to ask that one would start it."""
    if gpus():
        return None
    found = [one for one in (_machine(), _group()) if one is not None]
    return min(found) if found else None


def _machine() -> int | None:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _group() -> int | None:
    most, used = _text(CONTROL / "memory.max").strip(), _text(CONTROL / "memory.current").strip()
    if not most.isdigit() or not used.isdigit():
        return None
    stat = dict(line.split() for line in _text(CONTROL / "memory.stat").splitlines())
    # files read before count as used, and are given up when memory is asked for
    return int(most) - int(used) + int(stat.get("file", 0))


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""
