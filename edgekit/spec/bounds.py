"""Checks that spec values share."""

from __future__ import annotations

from edgekit.errors import SpecError


def at_least(value: float, bound: float, path: str) -> None:
    """Raise SpecError at ``$.path`` where ``value`` is under ``bound``."""
    if value < bound:
        raise SpecError("too small", where="$." + path, given=value, allowed="{} or more".format(bound))


def within(value: float, low: float, high: float, path: str) -> None:
    """Raise SpecError at ``$.path`` where ``value`` is outside ``[low, high]``."""
    if not low <= value <= high:
        raise SpecError("out of range", where="$." + path, given=value, allowed="{} to {}".format(low, high))
