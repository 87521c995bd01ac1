"""What a training goes on from: one file, replaced atomically, so that whatever ends the process leaves a whole state.

In it is all that the next step depends on: weights and their mean, helpers, optimizer, scaler, random state, place in
the epoch.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from edgekit.compress.average import Average

#: What of a :class:`State` is saved, each by its own state.
PARTS = ("module", "helpers", "optimizer", "scaler", "average")


@dataclass
class Progress:
    """What has been trained so far. ``step`` counts the optimizer's steps within ``epoch`` (both from 0), ``total``
    sums their losses; ``losses`` and ``accuracies`` are of the finished epochs, ``curve`` has every step's loss.
    ``first`` is the first epoch whose end can be the best. ``diverged`` is the loss that was no number, as text."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    first: int = 0
    diverged: str = ""

    @property
    def best(self) -> int:
        """The first epoch of the best validation accuracy, of those that can be; -1 before there is any."""
        able = self.accuracies[self.first :]
        return self.first + able.index(max(able)) if able else -1


@dataclass(frozen=True)
class State:
    """The parts that are saved and loaded together; ``helpers`` may be an empty module."""

    folder: Path
    key: str
    module: Any
    helpers: Any
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: Average

    @property
    def file(self) -> Path:
        return self.folder / "state.pt"

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    def save(self, progress: Progress) -> None:
        parts = {name: getattr(self, name).state_dict() for name in PARTS}
        random = {"random": torch.get_rng_state(), "gpu": self._gpu_random()}
        write(self.file, {"key": self.key, **parts, **random, "progress": asdict(progress)})

    def save_best(self) -> None:
        write(self.best, {"key": self.key, "module": self.module.state_dict()})

    def resume(self) -> Progress | None:
        """Load the state, where there is one of this key."""
        state = read(self.file, self.key)
        if state is None:
            return None
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        torch.set_rng_state(state["random"])
        if state["gpu"] is not None:
            torch.cuda.set_rng_state(state["gpu"])
        return Progress(**state["progress"])

    def _gpu_random(self) -> torch.Tensor | None:
        trained = next(self.module.parameters()).device
        return torch.cuda.get_rng_state() if trained.type == "cuda" else None


def write(file: Path, value: dict[str, Any]) -> None:
    """Whole and durable, or not at all."""
    temporary = file.with_suffix(".new")
    torch.save(value, temporary)
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(temporary, file)


def read(file: Path, key: str) -> dict[str, Any] | None:
    """What :func:`write` wrote, on the CPU; ``None`` where there is nothing, or it belongs to another ``key``."""
    if not file.is_file():
        return None
    state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
    return state if state["key"] == key else None
