"""One line on a terminal that redraws itself, with a bar where the share done is known."""

from __future__ import annotations

import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from edgekit.cli.progress import Silent


class Live(Silent):
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: Progress | None = None
        self._clock = _Clock()

    def __call__(self, message: str, fraction: float | None = None) -> None:
        if self._bar is None:
            self._bar = self._start()
        # set, not ``update``: that one cannot make a known total unknown again
        (task,) = self._bar.tasks
        task.description = message
        task.total = None if fraction is None else 1.0
        task.completed = min(max(fraction or 0.0, 0.0), 1.0)

    def pause(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start(self) -> Progress:
        message = TextColumn(
            "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        )
        bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            self._clock,
            message,
            console=Console(file=self._stream),
            transient=True,
            expand=True,
            redirect_stdout=False,
            refresh_per_second=8,
        )
        bar.add_task("", total=None)
        bar.start()
        return bar


class _Clock(ProgressColumn):
    """Minutes and seconds since the command began, through every pause."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def render(self, task: Task) -> Text:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return Text(f"{minutes}:{seconds:02}")
