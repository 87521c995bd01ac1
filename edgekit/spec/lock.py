"""``recipe.lock``: all that a build depended on, and what each of its stages made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from edgekit.errors import SpecError

SCHEMA = 1


@dataclass(frozen=True)
class Stage:
    """One stage of a build: SHA-256 (hex) of what went in, and of the files that came out."""

    name: str
    input: str
    output: str


@dataclass(frozen=True)
class Hardware:
    """The host that built: its CPU's name and instruction-set ``features``, its ``cores``, and on how many ``threads``
    it trained. Other hardware may round sums otherwise."""

    cpu: str
    features: Tuple[str, ...]
    cores: int
    threads: int


@dataclass(frozen=True)
class Lock:
    """``recipe`` is the whole recipe as it was built, overrides included; ``seed`` stands in it, and here.

    ``code`` is a digest of edgekit's own text, ``versions`` are those of the interpreter and of every distribution that
    a stage computes with. ``data`` and ``model`` are digests of the samples and of the checkpoint it started from.
    ``stages`` stand in the order they ran; those that measure time are not among them. ``shipped`` is the candidate in
    the bundle, whose digest is ``bundle``; ``target`` is the kind of board it is for, if for one.
    """

    recipe: Dict[str, Any]
    recipe_digest: str
    seed: int
    code: str
    versions: Dict[str, str]
    hardware: Hardware
    data: str
    model: str
    stages: Tuple[Stage, ...]
    shipped: str
    bundle: str
    target: Optional[str] = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown lock schema", where="$.schema", given=self.schema, allowed=SCHEMA)
