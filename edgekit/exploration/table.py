"""The latency table: what each layer costs on one kind of board, measured once, and the price of a model made of them.

A model's latency is taken as a sum (as in ProxylessNAS, Cai 2019): every layer but the last (``inner``), and the last
one together with embeddings and classifier (``last``): it is exported apart, for only its first token is used. What a
layer costs is taken as the sum of what its heads and its feed-forward neurons cost, each linear between two measured
widths that are near: so a handful of measured shapes prices them all. No I/O but ``load`` and ``save``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from edgekit.errors import SpecError
from edgekit.models.structure import Structure
from edgekit.spec import codec

SCHEMA = 1
Kind = Literal["inner", "last"]
#: Between widths that differ by more than this factor nothing is interpolated.
NEAR = 2.0


@dataclass(frozen=True)
class Shape:
    """One layer as the runtime sees it. ``variant`` names what else decides its kernels: the activation, the ranks of
    factored projections, and for the last layer those of the embeddings."""

    family: str
    hidden: int
    head_size: int
    heads: int
    ffn: int
    variant: str = ""


@dataclass(frozen=True)
class Settings:
    """What a figure holds for besides the layer: the file's format and scheme, the runtime's threads, and how many
    weights in a row share a scale (0: the whole row)."""

    format: str
    scheme: str
    threads: int = 1
    block: int = 0


@dataclass(frozen=True)
class Entry:
    """``ms`` that one layer of ``shape`` adds to one text of ``length`` tokens, in the board's clock."""

    kind: Kind
    shape: Shape
    settings: Settings
    length: int
    ms: float


@dataclass(frozen=True)
class Need:
    """A figure that is not there: a layer to measure, at one length."""

    kind: Kind
    shape: Shape
    settings: Settings
    length: int


@dataclass(frozen=True)
class Table:
    """``identity`` is what the figures hold for: board, runtime, exporter. ``outside`` are the ms of each text that
    are not the model's (tokenizing, padding, decoding), by the digest of tokenizer and texts."""

    identity: dict[str, str]
    entries: tuple[Entry, ...] = ()
    outside: dict[str, tuple[float, ...]] | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown table schema", where="$.schema", given=self.schema, allowed=SCHEMA)

    def with_entries(self, entries: Sequence[Entry]) -> Table:
        """The table with more figures; a figure that was there is replaced."""
        merged = {(one.kind, one.shape, one.settings, one.length): one for one in (*self.entries, *entries)}
        return replace(self, entries=tuple(merged.values()))

    def layer(self, need: Need) -> float | None:
        """ms of one layer, measured or between measured ones; ``None`` where the table cannot tell."""
        points = self._points(need)
        shape = need.shape
        if (shape.heads, shape.ffn) in points:
            return points[shape.heads, shape.ffn]
        for heads, ffn in sorted(points, reverse=True):
            by_heads = _between({one: ms for (one, width), ms in points.items() if width == ffn}, shape.heads)
            by_ffn = _between({width: ms for (one, width), ms in points.items() if one == heads}, shape.ffn)
            if by_heads is not None and by_ffn is not None:
                return max(0.0, by_heads + by_ffn - points[heads, ffn])
        return None

    def missing(self, needs: Sequence[Need]) -> tuple[Need, ...]:
        """What must be measured before all of ``needs`` can be priced; empty where they can."""
        wanted: dict[Need, None] = {}
        for need in needs:
            if self.layer(need) is None:
                wanted.update(dict.fromkeys(self._anchors(need)))
        return tuple(wanted)

    def price(self, shapes: Sequence[Shape], settings: Settings, length: int) -> float | None:
        """ms of the model alone for one text of ``length`` tokens; ``None`` where a figure is missing."""
        found = [self.layer(one) for one in needs(shapes, settings, [length])]
        return None if any(one is None for one in found) else sum(one for one in found if one is not None)

    def _points(self, need: Need) -> dict[tuple[int, int], float]:
        plain = replace(need.shape, heads=0, ffn=0)
        return {
            (one.shape.heads, one.shape.ffn): one.ms
            for one in self.entries
            if (one.kind, one.settings, one.length) == (need.kind, need.settings, need.length)
            and replace(one.shape, heads=0, ffn=0) == plain
        }

    def _anchors(self, need: Need) -> tuple[Need, ...]:
        """The shapes whose figures would price ``need``: itself where nothing like it was measured, or where it cannot
        be made of others; else what differs from the greatest measured one, heads and feed-forward each on its own."""
        points, shape = self._points(need), need.shape
        if not points or "rank" in shape.variant:
            return (need,)
        heads, ffn = max(points)
        by_heads = {one: ms for (one, width), ms in points.items() if width == ffn}
        by_ffn = {width: ms for (one, width), ms in points.items() if one == heads}
        found = []
        if _between(by_heads, shape.heads) is None:
            found.append(replace(need, shape=replace(shape, ffn=ffn)))
        if _between(by_ffn, shape.ffn) is None:
            found.append(replace(need, shape=replace(shape, heads=heads)))
        return tuple(found)


def _between(points: Mapping[int, float], width: int) -> float | None:
    """Linear between the two measured widths around ``width``, where they are near; the figure itself where it is."""
    if width in points:
        return points[width]
    for low, high in pairwise(sorted(points)):
        if low < width < high and high <= NEAR * low:
            share = (width - low) / (high - low)
            return points[low] + share * (points[high] - points[low])
    return None


def shapes(structure: Structure, activation: str) -> tuple[Shape, ...]:
    """The layers of a checkpoint, first to last. ``activation`` is the feed-forward's, by its name in config.json."""
    found = []
    last = len(structure.layers) - 1
    for number, layer in enumerate(structure.layers):
        parts = [activation]
        for factor in structure.factors:
            place = re.search(r"\.(\d+)\.", factor.name)
            # what belongs to no layer stands around the layers, and is counted with the last one
            if (int(place[1]) if place else last) == number:
                parts.append(f"{factor.name.split('.', 1)[-1]} rank {factor.rank}")
        if number == last and structure.hashing is not None:
            parts.append(f"{structure.hashing.hashes} hashes")
        if number == last and structure.pooled is not None:
            parts.append(f"pooled {structure.pooled}")
        found.append(
            Shape(structure.family, structure.hidden, structure.head_size, layer.heads, layer.ffn, ", ".join(parts))
        )
    return tuple(found)


def needs(shapes: Sequence[Shape], settings: Settings, lengths: Sequence[int]) -> tuple[Need, ...]:
    """The figures that the price of a model of these layers is the sum of, for each length; equal layers stand there
    as often as the model has them."""
    return tuple(
        Need("last" if number == len(shapes) - 1 else "inner", shape, settings, length)
        for length in lengths
        for number, shape in enumerate(shapes)
    )


def weight_bits(scheme: str) -> int:
    """Bits of a weight, as the scheme's name says (``w8_a32_dynamic``: 8)."""
    return int(scheme.partition("_")[0].removeprefix("w"))


def load(file: Path, identity: Mapping[str, str]) -> Table:
    """The table in ``file``; an empty one where there is none, or it holds for another board or runtime."""
    if file.is_file():
        table = codec.loads(Table, file.read_text("utf-8"), where=str(file))
        if table.identity == dict(identity):
            return table
    return Table(dict(identity))


def save(table: Table, file: Path) -> None:
    """Write it whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(codec.dumps(table) + "\n", "utf-8")
    os.replace(part, file)
