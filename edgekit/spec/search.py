"""The recipe's search: which of its values may differ, and what is wanted of the candidates."""

from __future__ import annotations

import copy
import dataclasses
import math
import typing
from dataclasses import dataclass
from typing import Any, Dict, List, Literal, Mapping, Optional, Tuple, TypeVar, Union

from edgekit.errors import SpecError, nearest
from edgekit.spec import codec
from edgekit.spec.bounds import at_least

R = TypeVar("R")
Objective = Literal["accuracy", "latency", "size"]
#: Grids are checked value by value; a finer one is as good as a range without steps.
FINEST = 1000
#: What candidates have in common: the model, its samples, the bounds they must meet, and the search itself.
_FIXED = ("model", "data", "gates", "search")


@dataclass(frozen=True)
class Range:
    """One value of the recipe that may differ: ``path`` is its dotted place, as in ``compress.1.prune.ffn``.

    Either ``choices`` are the values to choose from, of any kind that fits there. Or ``low`` and ``high`` bound a
    number, both included. ``step`` is the grid it stands on (a whole number moves by 1 where it is left out).
    ``log`` draws it evenly on a logarithmic scale, as learning rates want.
    """

    path: str
    choices: Tuple[Any, ...] = ()
    low: Optional[float] = None
    high: Optional[float] = None
    step: Optional[float] = None
    log: bool = False

    def __post_init__(self) -> None:
        bounds = [name for name in ("low", "high", "step") if getattr(self, name) is not None]
        if self.choices and (bounds or self.log):
            raise SpecError(
                "a range is a list of choices or a span of numbers, not both",
                where="$",
                given=", ".join(["choices", *bounds, *(["log"] if self.log else [])]),
                allowed="choices, or low and high",
            )
        if self.choices:
            self._check_choices()
        else:
            self._check_span()

    def _check_choices(self) -> None:
        texts = [codec.dumps(one) for one in self.choices]
        if len(texts) < 2:
            raise SpecError("one choice is no range", where="$.choices", remedy="write it into the recipe itself")
        twice = sorted({one for one in texts if texts.count(one) > 1})
        if twice:
            raise SpecError("a choice stands here twice", where="$.choices", given=", ".join(twice))

    def _check_span(self) -> None:
        if self.low is None or self.high is None:
            raise SpecError("a range needs choices, or low and high", where="$", remedy="choices: [192, 384]")
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise SpecError("a range has two ends", where="$." + name, given=value, allowed="a finite number")
        if self.low >= self.high:
            raise SpecError("low is not below high", where="$.low", given=self.low, allowed="less than %g" % self.high)
        if self.step is not None and self.step <= 0:
            raise SpecError("a step is above 0", where="$.step", given=self.step)
        if self.log and self.low <= 0:
            raise SpecError("a logarithmic range starts above 0", where="$.low", given=self.low)
        if self.log and self.step is not None:
            raise SpecError(
                "an even step and a logarithmic scale contradict each other",
                where="$.step",
                given=self.step,
                remedy="leave step or log out",
            )
        if self.step is not None and (self.high - self.low) / self.step > FINEST:
            raise SpecError("more than {} steps".format(FINEST), where="$.step", given=self.step)

    def check_whole(self, where: str) -> None:
        """Raise SpecError where its bounds or its step are not the whole numbers that its place takes."""
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if value is not None and value != int(value):
                raise SpecError(
                    "this value takes whole numbers",
                    where="{}.{}".format(where, name),
                    given=value,
                    allowed="{} or {}".format(math.floor(value), math.ceil(value)),
                )

    def values(self, whole: bool) -> Optional[Tuple[Any, ...]]:
        """All values it can take, in order, or ``None`` where it is continuous. ``whole``: the place takes whole
        numbers."""
        if self.choices:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        step = self.step or (1 if whole else None)
        if step is None or (self.high - self.low) / step > FINEST:
            return None
        count = int((self.high - self.low) / step + 1e-9) + 1
        found = [self.low + step * number for number in range(count)]
        return tuple(int(one) if whole else one for one in found)


@dataclass(frozen=True)
class Search:
    """``ranges`` are the values that may differ; every other value of the recipe stays as it is.

    ``trials`` is how many candidates are drawn, the first ``random`` of them at random. ``sampler`` then draws the
    rest: ``tpe`` (tree-structured Parzen estimators, Bergstra 2011) or ``nsga2`` (Deb 2002). ``objectives`` are what
    is made better without a price among each other: the Pareto front is drawn over them. ``threads`` is how many
    threads the runtime is priced with.
    """

    ranges: Tuple[Range, ...]
    trials: int = 24
    random: int = 8
    sampler: Literal["tpe", "nsga2"] = "tpe"
    objectives: Tuple[Objective, ...] = ("accuracy", "latency")
    threads: int = 1

    def __post_init__(self) -> None:
        at_least(self.trials, 1, "trials")
        at_least(self.random, 1, "random")
        at_least(self.threads, 1, "threads")
        if not self.ranges:
            raise SpecError("name at least one range", where="$.ranges")
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise SpecError("name one or several objectives, each once", where="$.objectives", given=self.objectives)
        seen: Dict[Tuple[str, ...], str] = {}
        for number, one in enumerate(self.ranges):
            parts = tuple(one.path.split("."))
            for other, name in seen.items():
                if parts[: len(other)] == other or other[: len(parts)] == parts:
                    raise SpecError(
                        "two ranges set the same value",
                        where="$.ranges[{}].path".format(number),
                        given=one.path,
                        remedy="keep this one or {}".format(name),
                    )
            seen[parts] = one.path

    def check(self, recipe: Any) -> None:
        """Raise SpecError where a range's path is not the recipe's, or a value alone makes the recipe invalid."""
        for number, one in enumerate(self.ranges):
            where = "$.search.ranges[{}]".format(number)
            whole = takes_whole(recipe, one, where + ".path")
            if whole:
                one.check_whole(where)
            values = one.values(whole)
            for place, value in enumerate(values if values is not None else (one.low, one.high)):
                at = "{}.choices[{}]".format(where, place) if one.choices else where
                try:
                    candidate(recipe, {one.path: int(value) if whole and not one.choices else value})
                except SpecError as error:
                    raise SpecError(
                        "this value makes the recipe invalid: {}".format(error.message),
                        where=at,
                        given="{}: {}{}".format(
                            one.path, codec.dumps(value), " ({})".format(error.given) if error.given else ""
                        ),
                        allowed=error.allowed,
                        remedy=error.remedy,
                    ) from error


def candidate(recipe: R, settings: Mapping[str, Any]) -> R:
    """The recipe with the value at each dotted path set, and without its search. Raises SpecError where the result is
    no valid recipe."""
    data = codec.encode(recipe)
    data.pop("search", None)
    data = copy.deepcopy(data)
    for path, value in settings.items():
        here: Any = data
        *parents, last = path.split(".")
        for part in parents:
            here = here[int(part)] if isinstance(here, list) else here.setdefault(part, {})
        if isinstance(here, list):
            here[int(last)] = value
        else:
            here[last] = value
    return codec.decode(type(recipe), data)


def takes_whole(recipe: Any, one: Range, where: str) -> bool:
    """Whether the place of a range takes whole numbers. Raises SpecError where there is no such place."""
    kind: Any = type(recipe)
    value: Any = recipe
    walked: List[str] = []
    for part in one.path.split("."):
        kind, value = _below(kind, value, part, walked, where, one.path)
        walked.append(part)
    if walked[0] in _FIXED and one.path != "data.lengths":
        raise SpecError(
            "this is the same for all candidates, or they could not be compared",
            where=where,
            given=one.path,
            allowed="compress, convert, data.lengths, seed",
        )
    numbers = [found for found in _options(kind) if found in (int, float)]
    if not one.choices and not numbers:
        raise SpecError(
            "low and high bound a number, and here stands none",
            where=where,
            given=one.path,
            remedy="name the values: choices: […]",
        )
    return bool(numbers) and float not in numbers


def _below(kind: Any, value: Any, part: str, walked: List[str], where: str, path: str) -> Tuple[Any, Any]:
    """Type and value (``None``: not set) of what stands at ``part`` of a value of type ``kind``."""
    (inner, *_) = _options(kind)
    name = ".".join(walked) or "the recipe"
    if dataclasses.is_dataclass(inner):
        hints = typing.get_type_hints(inner)
        if part not in hints:
            raise SpecError(
                "{} has no {!r}".format(name, part),
                where=where,
                given=path,
                allowed=sorted(hints),
                remedy=nearest(part, hints),
            )
        return hints[part], getattr(value, part, None)
    arguments = typing.get_args(inner)
    if typing.get_origin(inner) is tuple:
        there = len(value) if value else 0
        if not part.isdecimal() or int(part) >= there:
            raise SpecError(
                "{} has no item {!r}".format(name, part),
                where=where,
                given=path,
                allowed="0 to {}".format(there - 1) if there else "nothing: it is empty",
            )
        return arguments[0], value[int(part)]
    if typing.get_origin(inner) is dict:
        return arguments[1], (value or {}).get(part)
    raise SpecError("{} is a single value: there is nothing below it".format(name), where=where, given=path)


def _options(kind: Any) -> Tuple[Any, ...]:
    """The members of a union but ``None``; of any other type itself."""
    if typing.get_origin(kind) is Union:
        return tuple(one for one in typing.get_args(kind) if one is not type(None))
    return (kind,)
