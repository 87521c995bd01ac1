"""Where training computes: on this machine's CPU, or on its GPUs through ``accelerate`` where that is installed.

On several GPUs each process takes its share of every step's texts, and the gradients are summed: a loss may then be
any function of the module, which a wrapper around the module would not see.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Devices:
    """One process's view: its ``device``, its ``index`` among ``count`` processes."""

    device: torch.device
    index: int = 0
    count: int = 1
    accelerator: Any = None

    @property
    def main(self) -> bool:
        """Whether this process writes and tells."""
        return self.index == 0

    def share(self, rows: list[int]) -> list[int]:
        """This process's part of a step's rows."""
        return rows[self.index :: self.count]

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Over all processes."""
        if self.count == 1:
            return value
        summed: torch.Tensor = self.accelerator.reduce(value, "sum")
        return summed

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Over all processes, in place; a process without texts adds nothing."""
        if self.count == 1:
            return
        for one in parameters:
            if one.requires_grad:
                one.grad = self.sum(torch.zeros_like(one) if one.grad is None else one.grad)

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            self.accelerator.wait_for_everyone()


def gpus() -> int:
    """How many GPUs train here: none without ``accelerate``. CUDA is only counted, not started: no fork of a process in
    which it has started can use it."""
    if importlib.util.find_spec("accelerate") is None:
        return 0
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def run(work: Callable[[Devices], None]) -> None:
    """Call ``work`` once a process: here, or in one forked process for each of several GPUs."""
    count = gpus()
    if not count:
        work(Devices(torch.device("cpu")))
        return
    # before CUDA starts: without it, cuBLAS does not add up in the same order every time
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if count == 1:
        accelerated(work, False)
        return
    from accelerate import notebook_launcher

    notebook_launcher(accelerated, (work, False), num_processes=count)


def accelerated(work: Callable[[Devices], None], cpu: bool) -> None:
    """``work`` on the device that accelerate gives this process; ``cpu`` keeps it off the GPUs."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=cpu)
    if accelerator.num_processes > 1:
        # a forked OpenMP has lost its threads, and would wait for them
        torch.set_num_threads(1)
    work(Devices(accelerator.device, accelerator.process_index, accelerator.num_processes, accelerator))
