"""How a board runs a model, and how that was found: each way was timed there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from edgekit.errors import SpecError

SCHEMA = 1
MOST_THREADS = 64


@dataclass(frozen=True)
class Setting:
    """A runtime works on ``threads`` threads; ``cores`` are the numbers of those it may use, none for any."""

    threads: int = 1
    cores: Tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.threads <= MOST_THREADS:
            raise SpecError("too few or too many threads", given=self.threads, allowed=f"1 to {MOST_THREADS}")
        if any(one < 0 for one in self.cores) or len(set(self.cores)) < len(self.cores):
            raise SpecError("cores are numbers from 0, each once", given=list(self.cores))


@dataclass(frozen=True)
class Tried:
    """One ``setting``: ``ms`` is the median of a text end to end on the board's clock, over all rounds; ``failure`` why
    there is none."""

    setting: Setting
    ms: Optional[float] = None
    failure: str = ""


@dataclass(frozen=True)
class Tuning:
    """What a sweep found for one artifact on one target. ``artifact`` is the SHA-256 of its file, ``device`` the board
    it was timed on, ``emulated`` whether that was no real one, ``samples`` the texts a round, ``rounds`` how often each
    way was timed, in turns."""

    target: str
    artifact: str
    device: str
    emulated: bool
    samples: int
    rounds: int
    tried: Tuple[Tried, ...]
    chosen: Setting
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown schema of a sweep", where="$.schema", given=self.schema, allowed=SCHEMA)
