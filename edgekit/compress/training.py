"""The training loop that every step shares: seeded, resumable to the bit, keeping the best epoch.

AdamW (Loshchilov & Hutter 2019) with a linear warm-up and decay, gradients clipped to norm 1. Batches are of texts of
like length, and several of them can make one step of the optimizer.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekit.compress import devices, evaluate, precision, state, threads
from edgekit.compress.average import Average
from edgekit.compress.clock import Clock
from edgekit.compress.devices import Devices
from edgekit.compress.encoded import Batch, Encoded, batch, shuffled
from edgekit.compress.optimizer import adamw, rate
from edgekit.compress.state import Progress as Progress
from edgekit.compress.state import State
from edgekit.errors import BuildError
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec import codec
from edgekit.spec.progress import Report, quiet
from edgekit.spec.step import StepReport, thinned
from edgekit.spec.training import Training

CLIP = 1.0
LAST_GOOD = "last-good"
#: The mean of a batch's texts.
Loss = Callable[[Batch], torch.Tensor]
#: Called with the number of the optimizer's step, from 0 over all epochs, and how many there are at most.
StepHook = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """One training, as :func:`train` is told it; ``steps`` in an epoch."""

    module: Any
    plan: Training
    data: Encoded
    loss: Loss
    score: Callable[[], float]
    work: Path
    key: str
    seed: int
    helpers: nn.Module
    before_step: StepHook | None
    after_step: StepHook | None
    first: int
    save_every: int
    report: Report
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", math.ceil(len(self.data) / (self.plan.batch * self.plan.accumulate)))

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [*self.module.parameters(), *self.helpers.parameters()]


@contextlib.contextmanager
def settled(seed: int) -> Iterator[None]:
    """Seeded, deterministic, on all cores (OMP_NUM_THREADS overrides); the caller's random state comes back."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads.count())
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
    helpers: nn.Module | None = None,
    score: Callable[[], float] | None = None,
    keep: Callable[[Path], None] | None = None,
    before_step: StepHook | None = None,
    after_step: StepHook | None = None,
    first: int = 0,
    save_every: int = 200,
    report: Report = quiet,
) -> Progress:
    """Train ``module`` in place; it ends with the weights of its best epoch, in evaluation mode, on the CPU.

    Args:
        loss: of a batch; calls ``module`` itself.
        work: the folder of the state; a state of the same ``identity`` (and plan, texts and seed) is gone on from.
        helpers: trained along, in the state, and not part of the result.
        score: in per cent, which epoch is best by; left out, :func:`edgekit.compress.evaluate.score` on ``validation``.
        keep: writes the module as a checkpoint folder; for the last good weights of a training that diverged.
        first: the first epoch (from 0) whose end can be the best.
        before_step, after_step: see :func:`edgekit.compress.distill.teach`.
        save_every: steps between two states; each epoch's end has one as well.

    Raises BuildError where the loss or its gradient is no longer a number, naming the folder of the last good weights;
    and where the device cannot compute in the plan's precision.
    """
    work.mkdir(parents=True, exist_ok=True)
    key = codec.digest(
        [identity, codec.encode(plan), seed, first, data.ids, data.labels, validation.ids, validation.labels]
    )
    job = Job(
        module,
        plan,
        data,
        loss,
        score or (lambda: evaluate.score(module, validation)),
        work,
        key,
        seed,
        helpers or nn.ModuleDict(),
        before_step,
        after_step,
        min(first, plan.epochs - 1),
        save_every,
        report,
    )
    devices.run(lambda here: _epochs(job, here))
    module.to("cpu")
    reached = state.read(work / "state.pt", key)
    best = state.read(work / "best.pt", key)
    progress = Progress(**reached["progress"]) if reached else Progress()
    # weights of the best epoch; of one that diverged in its first, those of its last state
    good = best or reached
    if good is not None:
        module.load_state_dict(good["module"])
    module.eval()
    if progress.diverged:
        raise _diverged(progress, plan, work / LAST_GOOD, keep)
    return progress


def reported(kind: str, done: Checkpoint, trained: Progress, started: float) -> StepReport:
    """What a step that trained for ``trained``, since ``started`` (monotonic seconds), and left ``done``, did."""
    return evaluate.summed(
        kind,
        done,
        trained.accuracies[trained.best],
        epochs=len(trained.losses),
        losses=tuple(trained.losses),
        seconds=time.monotonic() - started,
        accuracies=tuple(trained.accuracies),
        curve=thinned(trained.curve),
    )


def _epochs(job: Job, here: Devices) -> None:
    """One process's part of the training; what it comes to is in the work folder."""
    plan = job.plan
    precision.check(plan.precision, here.device)
    job.module.to(here.device)
    job.helpers.to(here.device)
    scaler = precision.scaler(plan.precision, here.device)
    optimizer = adamw(job.module, job.parameters, plan)
    average = Average(job.module, plan.average)
    kept = State(job.work, job.key, job.module, job.helpers, optimizer, scaler, average)
    progress = kept.resume() or Progress(first=job.first)
    progress.diverged = ""
    clock = Clock(plan.epochs * job.steps, progress.epoch * job.steps + progress.step, job.data.task, job.report)
    if not progress.epoch and not progress.step and here.main:
        # what a training that diverges before its next state goes back to
        kept.save(progress)
    job.module.train()
    while progress.epoch < plan.epochs and not _stale(progress, plan):
        for rows in shuffled(job.data, plan.batch * plan.accumulate, job.seed, progress.epoch)[progress.step :]:
            value = _step(job, here, optimizer, scaler, rows, progress.epoch * job.steps + progress.step)
            if not math.isfinite(value):
                if here.main:
                    _mark(job, str(value), progress)
                return
            average.follow(progress.epoch * job.steps + progress.step)
            progress.total += value
            progress.curve.append(value)
            progress.step += 1
            if here.main:
                clock.tell(progress, plan)
                if progress.step % job.save_every == 0 and progress.step < job.steps:
                    kept.save(progress)
        progress.losses.append(progress.total / job.steps)
        with average.in_place():
            progress.accuracies.append(job.score())
            if progress.best == progress.epoch and here.main:
                kept.save_best()
        progress.epoch, progress.step, progress.total = progress.epoch + 1, 0, 0.0
        if here.main:
            kept.save(progress)
    here.wait()


def _step(
    job: Job,
    here: Devices,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    rows: list[int],
    place: int,
) -> float:
    """One step of the optimizer on ``rows``; gives their mean loss, or what is no number instead of a step."""
    plan, steps = job.plan, job.plan.epochs * job.steps
    for group in optimizer.param_groups:
        group["lr"] = plan.learning_rate * rate(place, steps, plan.warmup)
    if here.count > 1:
        # each process draws its own, and the same again when it is resumed
        torch.manual_seed((job.seed * steps + place) * here.count + here.index)
    optimizer.zero_grad(set_to_none=True)
    mine = here.share(rows)
    total = torch.zeros((), device=here.device)
    for start in range(0, len(mine), plan.batch):
        part = mine[start : start + plan.batch]
        with precision.cast(plan.precision, here.device):
            # by its share of the rows: as if all of them were one batch
            value = job.loss(batch(job.data, part).to(here.device)).float() * (len(part) / len(rows))
        total += value.detach()
        scaler.scale(value).backward()
    loss = float(here.sum(total))
    if not math.isfinite(loss):
        return loss
    here.sum_gradients(job.parameters)
    scaler.unscale_(optimizer)
    norm = float(nn.utils.clip_grad_norm_(job.parameters, CLIP))
    if not math.isfinite(norm) and not scaler.is_enabled():
        return norm
    if job.before_step is not None:
        job.before_step(place, steps)
    scaler.step(optimizer)
    scaler.update()
    if job.after_step is not None:
        job.after_step(place, steps)
    return loss


def _stale(progress: Progress, plan: Training) -> bool:
    return progress.best >= 0 and progress.epoch - 1 - progress.best >= plan.patience


def _mark(job: Job, loss: str, progress: Progress) -> None:
    """Note in the last state, whose weights were good, that and where the training ended."""
    file = job.work / "state.pt"
    last = state.read(file, job.key)
    assert last is not None
    place = {"epoch": progress.epoch, "step": progress.step}
    note = {**last["progress"], "diverged": f"{loss} at epoch {place['epoch'] + 1}, step {place['step'] + 1}"}
    state.write(file, {**last, "progress": note})


def _diverged(progress: Progress, plan: Training, folder: Path, keep: Callable[[Path], None] | None) -> BuildError:
    value, _, where = progress.diverged.partition(" at ")
    remedy = "lower learning_rate, or raise warmup"
    if keep is not None:
        keep(folder)
        remedy += f"; the last good weights are a checkpoint in {folder}"
    return BuildError(
        f"training diverged: the loss or its gradient is {value}",
        where=where,
        given=f"learning_rate {plan.learning_rate}",
        remedy=remedy,
    )
