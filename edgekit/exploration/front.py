"""Which candidates are worth having: the Pareto front, and its knee."""

from __future__ import annotations

from collections.abc import Sequence

#: Of one candidate, one number an objective; less is better in all of them.
Costs = Sequence[float]


def dominates(one: Costs, other: Costs) -> bool:
    """Whether ``one`` is nowhere worse and somewhere better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def front(costs: Sequence[Costs]) -> tuple[int, ...]:
    """Places of the candidates that none dominates, by rising first cost; of equal ones the first."""
    kept = [
        place
        for place, one in enumerate(costs)
        if not any(dominates(other, one) for other in costs) and tuple(one) not in [tuple(a) for a in costs[:place]]
    ]
    return tuple(sorted(kept, key=lambda place: (tuple(costs[place]), place)))


def knee(costs: Sequence[Costs]) -> int | None:
    """The place of the candidate beyond which little more is won for much more cost, among those of the front.

    With both costs scaled to 0…1, the one farthest below the chord between the ends of the front (Das 1999, normal
    boundary intersection; the distance of Kneedle, Satopää 2011). Only the first two costs are looked at. ``None``
    where the front has fewer than three members, or none lies below the chord.
    """
    members = [(costs[place][0], costs[place][1], place) for place in front([one[:2] for one in costs])]
    if len(members) < 3:
        return None
    (x0, y0, _), (x1, y1, _) = members[0], members[-1]
    if x1 == x0 or y1 == y0:
        return None
    below = [(1 - (x - x0) / (x1 - x0) - (y - y1) / (y0 - y1), -place) for x, y, place in members[1:-1]]
    distance, place = max(below)
    return -place if distance > 0 else None
