"""What every compression step is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit.data.samples import Samples
from edgekit.spec.progress import Report


@dataclass(frozen=True)
class Task:
    """The folders to read and write, the samples, the length buckets, the seed, and whom to tell. ``teachers`` are more
    than the one ``teacher``."""

    checkpoint: Path
    teacher: Path
    samples: Samples
    out: Path
    lengths: tuple[int, ...]
    seed: int
    report: Report
    teachers: tuple[Path, ...] = ()

    @property
    def work(self) -> Path:
        """Where an interrupted step finds what it had."""
        return self.out.with_name(self.out.name + ".work")
