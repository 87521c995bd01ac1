"""``recipe.lock``: what a build depended on and what each stage made, and whether another build keeps to it.

Written beside every bundle as ``<bundle>.lock``: not inside, for a bundle holds nothing that its manifest does not
name. ``edgekit build --locked`` goes through the same stages and stops at the first thing that differs.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekit.compress import threads
from edgekit.errors import BuildError, SpecError
from edgekit.outcome import Candidate
from edgekit.spec import codec
from edgekit.spec.lock import Hardware, Lock, Stage
from edgekit.spec.progress import Report
from edgekit.spec.recipe import Recipe
from edgekit.stages import code_digest, versions

SUFFIX = ".lock"
#: Whose text decides what the stages of a build make.
CODE = ("agent", "compress", "convert", "data", "models", "spec")


class Guard:
    """Holds a build against a lock (``None``: against nothing) as it goes on. Each method raises BuildError where what
    it is told differs from the lock; ``where`` is the lock's file."""

    def __init__(self, lock: Lock | None, where: Path | None, report: Report) -> None:
        self.lock, self.where, self.report = lock, where, report
        self.place = 0

    def recipe(self, recipe: Recipe, target: str | None) -> None:
        """The first value of the recipe that differs, and the kind of board it is built for."""
        if self.lock is None:
            return
        for path, locked, now in _differences("$", self.lock.recipe, codec.encode(recipe)):
            raise self._drift(f"the recipe: {path}", now, locked, "build without --locked to lock the new recipe")
        if target != self.lock.target:
            raise self._drift("the target", target, self.lock.target, "name the same --target, or none")

    def host(self, names: tuple[str, ...]) -> None:
        """Versions and edgekit's own code; other hardware is only told of."""
        if self.lock is None:
            return
        now = host_versions(names)
        for name in sorted({*now, *self.lock.versions}):
            locked = self.lock.versions.get(name)
            if now.get(name) != locked:
                install = f"pip install '{name}=={locked}'" if locked and name != "python" else None
                raise self._drift(f"the version of {name}", now.get(name), locked, install)
        if code_digest(*CODE) != self.lock.code:
            raise self._drift(
                "edgekit's own code", code_digest(*CODE), self.lock.code, "check out the code that wrote the lock"
            )
        for name, locked, here in _differences("", codec.encode(self.lock.hardware), codec.encode(hardware())):
            self.report(f"other hardware than the lock's ({name.lstrip('.')}: {here}, locked {locked})", None)

    def data(self, digest: str) -> None:
        """The samples' digest."""
        if self.lock is not None and digest != self.lock.data:
            raise self._drift("the data", digest, self.lock.data, "bring back the texts that were locked")

    def model(self, digest: str) -> None:
        """The digest of the checkpoint the recipe starts from."""
        if self.lock is not None and digest != self.lock.model:
            raise self._drift("the model the recipe starts from", digest, self.lock.model, None)

    def stage(self, stage: Stage) -> None:
        """The next stage, in the lock's order."""
        if self.lock is None:
            return
        self.place += 1
        if self.place > len(self.lock.stages):
            raise self._drift("the stages: there is one more", stage.name, "none after the last one", None)
        locked = self.lock.stages[self.place - 1]
        for what, now, then in (
            ("the order of stages", stage.name, locked.name),
            (f"the input of stage {stage.name}", stage.input, locked.input),
            (f"the output of stage {stage.name}", stage.output, locked.output),
        ):
            if now != then:
                raise self._drift(what, now, then, None)

    def shipped(self, candidates: Sequence[Candidate]) -> str:
        """The name of the candidate to ship: the judge's choice, but the lock's where there is one, for clocks may
        choose another."""
        best = next(one.name for one in candidates if one.shipped)
        if self.lock is None:
            return best
        if self.lock.shipped not in {one.name for one in candidates if not one.failure and not one.verdicts}:
            raise self._drift("the candidate that ships", best, self.lock.shipped, "the locked one misses a gate here")
        return self.lock.shipped

    def bundle(self, digest: str) -> None:
        """The bundle's digest, when all else was the same."""
        if self.lock is not None and digest != self.lock.bundle:
            raise self._drift("the bundle", digest, self.lock.bundle, None)

    def _drift(self, what: str, now: object, locked: object, remedy: str | None) -> BuildError:
        return BuildError(
            f"the build drifted from its lock: {what}",
            where=str(self.where),
            given="not there" if now is None else now,
            allowed="not there" if locked is None else locked,
            remedy=remedy,
            details={"drift": what},
        )


def beside(bundle: Path) -> Path:
    """The lock's file of a bundle's folder."""
    return bundle.with_name(bundle.name + SUFFIX)


def find(named: Path | bool, recipe_file: Path, name: str, bundles: Path) -> Path | None:
    """The lock that is meant: the file ``named``; for ``True`` the one beside the recipe, else that of the newest
    bundle of the recipe's ``name``; for ``False`` none. Raises SpecError where there is none to be found."""
    if named is False:
        return None
    if named is not True:
        return named
    own = recipe_file.with_suffix(SUFFIX)
    built = sorted(bundles.glob(f"{name}-*{SUFFIX}"), key=lambda one: (one.stat().st_mtime_ns, one.name))
    for file in (own, *reversed(built)):
        if file.is_file():
            return file
    raise SpecError(
        "there is no lock of this recipe",
        where=str(recipe_file),
        allowed=f"{own.name} beside the recipe, or a bundle's {SUFFIX}",
        remedy="build it once without --locked, or name the file: --locked FILE",
    )


def read(file: Path) -> Lock:
    """Raises SpecError where there is no lock in ``file``."""
    try:
        return codec.loads(Lock, file.read_bytes(), where=str(file))
    except OSError as error:
        raise SpecError(f"the lock cannot be read: {error.strerror}", where=str(file)) from error


def write(lock: Lock, file: Path) -> Path:
    """Canonical JSON, one value a line; it appears whole or not at all."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(json.dumps(codec.encode(lock), indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    os.replace(part, file)
    return file


def made(
    recipe: Recipe,
    names: tuple[str, ...],
    *,
    data: str,
    model: str,
    stages: Sequence[Stage],
    shipped: str,
    bundle: str,
    target: str | None,
) -> Lock:
    """The lock of a build that is done; ``names`` are the distributions it computed with."""
    return Lock(
        recipe=codec.encode(recipe),
        recipe_digest=codec.digest(recipe),
        seed=recipe.seed,
        code=code_digest(*CODE),
        versions=host_versions(names),
        hardware=hardware(),
        data=data,
        model=model,
        stages=tuple(stages),
        shipped=shipped,
        bundle=bundle,
        target=target,
    )


def host_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Of the interpreter, edgekit and ``names``."""
    return {"python": platform.python_version(), **versions("edgekit", *names)}


def hardware() -> Hardware:
    """This host's, as far as sums may depend on it."""
    said: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            said.setdefault(key.strip(), value.strip())
    except OSError:
        said = {}
    named = said.get("model name") or said.get("CPU part") or platform.processor() or platform.machine()
    features = (said.get("flags") or said.get("Features") or "").split()
    return Hardware(named, tuple(sorted(features)), os.cpu_count() or 1, threads.count())


def _differences(path: str, locked: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """Path, locked value and value now, of every leaf that differs; ``None`` where there is none."""
    if isinstance(locked, dict) and isinstance(now, dict):
        for key in sorted({*locked, *now}):
            yield from _differences(f"{path}.{key}", locked.get(key), now.get(key))
    elif isinstance(locked, list) and isinstance(now, list) and len(locked) == len(now):
        for number, pair in enumerate(zip(locked, now, strict=True)):
            yield from _differences(f"{path}[{number}]", *pair)
    elif locked != now:
        yield path, locked, now
