"""One candidate of a search: rehearsed to see what it becomes, and trained to see what it answers.

In a *rehearsal* its steps run over a handful of texts, which gives its true structure and vocabulary in seconds: enough
to price it, whatever kinds of steps it is made of.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgekit.building import TRAINERS, Builder, Module
from edgekit.errors import BuildError, UsageError
from edgekit.home import Home
from edgekit.outcome import Candidate
from edgekit.spec import codec
from edgekit.spec.progress import Report, quiet
from edgekit.spec.recipe import Recipe, Step
from edgekit.spec.training import Training
from edgekit.spec.trial import Option
from edgekit.stages import Stages, code_digest, versions

#: Texts that a rehearsal trains on.
FEW = 32
#: What a rehearsed step does with its options, where it has them: as little as makes the same shapes.
_HURRIED: dict[str, Any] = {"samples": 8, "teachers": (), "teacher_weights": (), "augment": 0, "patience": 1}


@dataclass(frozen=True)
class Work:
    """A candidate to train, as any machine can take it on: plain values and paths. ``options`` are priced."""

    number: int
    settings: dict[str, Any]
    recipe: dict[str, Any]
    base: str
    home: str
    samples: str
    options: tuple[Option, ...]
    begun: float


def train(work: Work, report: Report = quiet) -> tuple[Option, ...] | str:
    """The options with size and accuracy, of the validation texts; or why the candidate cannot be trained."""
    from edgekit.data import samples as sampled

    home = Home(Path(work.home))
    if not Path(work.samples).is_dir():
        raise UsageError(
            "the samples are not on this machine", where=work.samples, remedy="let all workers share edgekit's home"
        )
    builder = Builder(codec.decode(Recipe, work.recipe), Path(work.base), home, report)
    samples = sampled.read(Path(work.samples))
    # the test texts decide about the winner alone: who chooses among many by them has learned them
    judged = replace(samples, test=samples.validation, digest=samples.digest + "-validation")
    try:
        reference, module = builder.compress(builder.model(samples), samples)
        baseline = builder.baseline(reference, judged)
        made = builder.candidates(module, judged)
    except BuildError as error:
        return error.message
    priced = {one.name: one for one in work.options}
    found = []
    for one in made:
        name = one.name if isinstance(one, Candidate) else one.artifact.name
        if name not in priced:
            continue
        if isinstance(one, Candidate):
            found.append(replace(priced[name], failure=one.failure))
            continue
        accuracy = one.artifact.accuracy or 0.0
        drop = round((baseline.artifact.accuracy or 0.0) - accuracy, 4)
        found.append(replace(priced[name], size=one.artifact.blob.size, accuracy=accuracy, drop=drop))
    return tuple(found)


def rehearse(recipe: Recipe, model: Module, whole: Any, stages: Stages) -> Path:
    """The checkpoint that the recipe's steps lead to, in shape: they run over a handful of texts, but for those that do
    not train. Raises BuildError where a step cannot be applied."""
    from edgekit import compress

    few = replace(whole, train=whole.train[:FEW], validation=whole.validation[:FEW], unlabeled=[])
    at = teacher = model
    for number, step in enumerate(recipe.compress, 1):
        options = step.options
        hurried = Step(**{step.kind: _hurried(options)})
        samples = few if isinstance(options, Training) else whole
        inputs = {
            "step": codec.encode(hurried),
            "from": at.key,
            "teacher": teacher.key,
            "samples": [whole.digest, len(samples.train)],
            "lengths": recipe.data.lengths,
            "code": code_digest("compress", "models", "data"),
            "versions": versions(*TRAINERS),
        }

        def make(part: Path, now: Any = (hurried, at, teacher, samples)) -> None:
            step, at, teacher, samples = now
            lengths, seed = recipe.data.lengths, recipe.seed
            out = part / "checkpoint"
            compress.apply(step, at.folder, teacher.folder, samples, out, lengths=lengths, seed=seed)

        folder = stages.run(f"rehearse-{number}-{step.kind}", inputs, make) / "checkpoint"
        at = Module(folder, codec.digest(inputs))
        if step.kind == "finetune":
            teacher = at
    return at.folder


def _hurried(options: Any) -> Any:
    """The same step, as short as it can be."""
    known = {one.name for one in fields(options)}
    changed = {name: value for name, value in _HURRIED.items() if name in known}
    if isinstance(options, Training):
        changed |= {"epochs": min(options.epochs, 1), "accumulate": 1, "precision": "float32"}
    return replace(options, **changed)
