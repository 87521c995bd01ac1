"""Which ways of running a model are tried on a board, and which of them is taken: pure decisions, no device."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.errors import DeviceError
from edgekit.spec.setting import MOST_THREADS, Setting, Tried
from edgekit.spec.target import Facts

#: A way that is quicker by less is not worth its threads: they are somebody else's time, and heat.
WORTH = 1.05


def settings(facts: Facts) -> tuple[Setting, ...]:
    """1, 2, 4, … threads up to all cores, on any of them; and where some cores clock higher than others, the same on
    those alone."""
    cores = min(facts.cores, MOST_THREADS)
    fast = tuple(one for one, mhz in enumerate(facts.clocks_mhz) if mhz == max(facts.clocks_mhz))
    groups = [(cores, ())] + ([(len(fast), fast)] if 0 < len(fast) < cores else [])
    return tuple(Setting(threads, group) for count, group in groups for threads in _counts(count))


def _counts(cores: int) -> list[int]:
    counts = [1]
    while counts[-1] * 2 <= cores:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == cores else [*counts, cores]


def choose(tried: Sequence[Tried]) -> Setting:
    """The quickest, or one of fewer threads that is nearly as quick. Raises DeviceError where every one failed."""
    timed = sorted((one.setting.threads, one.ms, number) for number, one in enumerate(tried) if one.ms is not None)
    if not timed:
        raise DeviceError(
            "the model ran in no way on this board", given="; ".join(dict.fromkeys(one.failure for one in tried))
        )
    least = min(ms for _, ms, _ in timed)
    near = [one for one in timed if one[1] <= least * WORTH]
    fewest = near[0][0]
    return tried[min((ms, number) for threads, ms, number in near if threads == fewest)[1]].setting
