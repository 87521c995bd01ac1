"""The training loop that every step shares: seeded, resumable to the bit, keeping the best epoch.

AdamW (Loshchilov & Hutter 2019) with a linear warm-up and decay, gradients clipped to norm 1. All that a step depends
on is in one state file: weights, optimizer, random state, place in the epoch. It is replaced atomically, so that
whatever ends the process, the next one goes on from a whole state, to the same result.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from edgekit.compress import evaluate
from edgekit.compress.encoded import Batch, Encoded, batch, shuffled
from edgekit.errors import BuildError
from edgekit.spec import codec
from edgekit.spec.progress import Report, quiet
from edgekit.spec.training import Training

THREADS = 8
CLIP = 1.0
Loss = Callable[[Batch], torch.Tensor]


@dataclass
class Progress:
    """What has been trained so far. ``step`` counts within ``epoch`` (both from 0), ``total`` sums its losses;
    ``losses`` and ``accuracies`` are of the finished epochs."""

    epoch: int
    step: int
    total: float
    losses: list[float]
    accuracies: list[float]

    @property
    def best(self) -> int:
        """The first epoch of the best validation accuracy."""
        return self.accuracies.index(max(self.accuracies))


@contextlib.contextmanager
def settled(seed: int) -> Iterator[None]:
    """Seeded, deterministic, on all cores (OMP_NUM_THREADS overrides); the caller's random state comes back."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(os.cpu_count() or 1, THREADS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        # no operator here reads memory before it writes it
        torch.utils.deterministic.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
            torch.utils.deterministic.fill_uninitialized_memory = filled


def train(
    module: Any,
    plan: Training,
    data: Encoded,
    validation: Encoded,
    loss: Loss,
    *,
    work: Path,
    identity: str,
    seed: int,
    save_every: int = 200,
    report: Report = quiet,
) -> Progress:
    """Train ``module`` in place; it ends with the weights of its best epoch, in evaluation mode.

    Args:
        loss: of a batch; calls ``module`` itself.
        work: the folder of the state; a state of the same ``identity`` (and plan, texts and seed) is gone on from.
        save_every: steps between two states; each epoch's end has one as well.

    Raises BuildError where the loss is no longer a number; the last good state stays in ``work``.
    """
    work.mkdir(parents=True, exist_ok=True)
    key = codec.digest([identity, codec.encode(plan), seed, data.ids, data.labels, validation.ids, validation.labels])
    optimizer = _optimizer(module, plan)
    state, best = work / "state.pt", work / "best.pt"
    progress = _resume(state, key, module, optimizer) or Progress(0, 0, 0.0, [], [])
    steps = math.ceil(len(data) / plan.batch)
    clock = _Clock(plan.epochs * steps, progress.epoch * steps + progress.step, report)
    module.train()
    while progress.epoch < plan.epochs and not _stale(progress, plan):
        for rows in shuffled(data, plan.batch, seed, progress.epoch)[progress.step :]:
            place = progress.epoch * steps + progress.step
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * rate(place, plan.epochs * steps, plan.warmup)
            progress.total += _step(module, optimizer, loss(batch(data, rows)), plan, progress)
            progress.step += 1
            clock.tell(progress, plan)
            if progress.step % save_every == 0 and progress.step < steps:
                _save(state, key, module, optimizer, progress)
        progress.losses.append(progress.total / steps)
        progress.accuracies.append(evaluate.accuracy(module, validation))
        if progress.best == progress.epoch:
            _write(best, {"key": key, "module": module.state_dict()})
        progress.epoch, progress.step, progress.total = progress.epoch + 1, 0, 0.0
        _save(state, key, module, optimizer, progress)
    module.load_state_dict(torch.load(best, weights_only=True)["module"])
    module.eval()
    return progress


def rate(step: int, steps: int, warmup: float) -> float:
    """The share of the learning rate at ``step`` of ``steps``: up linearly for ``warmup`` of them, then down to 0."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return (steps - step) / max(1.0, steps - rising)


def _optimizer(module: Any, plan: Training) -> torch.optim.AdamW:
    # biases, norms and embeddings are not decayed: a token that no text uses keeps its embedding exactly
    plain = {one for part in module.modules() if isinstance(part, torch.nn.Embedding) for one in part.parameters()}
    trained = [one for one in module.parameters() if one.requires_grad]
    decayed = [one for one in trained if one.dim() > 1 and one not in plain]
    rest = [one for one in trained if one.dim() < 2 or one in plain]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, fused=True)


def _step(
    module: Any, optimizer: torch.optim.Optimizer, loss: torch.Tensor, plan: Training, progress: Progress
) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise BuildError(
            f"training diverged: the loss is {value}",
            where=f"epoch {progress.epoch + 1}, step {progress.step + 1}",
            given=f"learning_rate {plan.learning_rate}",
            remedy="lower learning_rate, or raise warmup",
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), CLIP)
    optimizer.step()
    return value


def _stale(progress: Progress, plan: Training) -> bool:
    return bool(progress.accuracies) and progress.epoch - 1 - progress.best >= plan.patience


def _save(file: Path, key: str, module: Any, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    state = {"key": key, "module": module.state_dict(), "optimizer": optimizer.state_dict()}
    _write(file, {**state, "random": torch.get_rng_state(), "progress": asdict(progress)})


def _write(file: Path, value: dict[str, Any]) -> None:
    temporary = file.with_suffix(".new")
    torch.save(value, temporary)
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(temporary, file)


def _resume(file: Path, key: str, module: Any, optimizer: torch.optim.Optimizer) -> Progress | None:
    if not file.is_file():
        return None
    state = torch.load(file, weights_only=True)
    if state["key"] != key:
        return None
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return Progress(**state["progress"])


class _Clock:
    """Tells the time left, from the steps done since this process started."""

    def __init__(self, steps: int, first: int, report: Report) -> None:
        self.steps, self.done, self.started, self.count, self.report = steps, first, time.monotonic(), 0, report

    def tell(self, progress: Progress, plan: Training) -> None:
        self.count += 1
        self.done += 1
        left = (time.monotonic() - self.started) / self.count * (self.steps - self.done)
        words = f"epoch {progress.epoch + 1} of {plan.epochs}, loss {progress.total / progress.step:.3f}"
        if progress.accuracies:
            words += f", validation {progress.accuracies[-1]:.1f} %"
        self.report(f"{words}, {left:.0f} s left", self.done / self.steps)
