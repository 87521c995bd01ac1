"""The sensitivity scan of a recipe's teacher: what each method costs at each layer, and would save on a board."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from edgekit.building import Builder, Module
from edgekit.errors import BuildError, UsageError
from edgekit.exploration.table import Settings, Shape
from edgekit.home import Home
from edgekit.outcome import Analyzed
from edgekit.report import sensitivity as page
from edgekit.spec import codec
from edgekit.spec.device import Device
from edgekit.spec.progress import Report, quiet
from edgekit.spec.recipe import Recipe
from edgekit.spec.scheme import FORMAT_SCHEMES
from edgekit.spec.task import CLASSIFY, EMBED
from edgekit.spec.trial import Cell, Sensitivity
from edgekit.stages import code_digest, versions
from edgekit.tabling import Scale

FLOAT, DYNAMIC = "w32_a32_float", "w8_a32_dynamic"


def analyze(
    asked: Recipe, file: Path, device: Device | None, home: Home, html: Path | None, report: Report = quiet
) -> Analyzed:
    """Scan the model that the recipe's last finetune leaves, or the one it starts from where it has none. Raises
    UsageError where another model than a classifier is to be priced, texts are embedded, or the model is a Keras
    one."""
    if asked.task == EMBED:
        raise UsageError("a scan tells what a cut costs the labels, and embeddings have none", given="task: embed")
    if device is not None and asked.task != CLASSIFY:
        raise UsageError(
            "the latency table prices classifiers' layers", given=f"task: {asked.task}", remedy="leave the target out"
        )
    if asked.model.keras is not None:
        raise UsageError("the scan changes the layers of a torch checkpoint", given="a Keras model", where="$.model")
    builder = Builder(asked, file.parent, home, report)
    samples = builder.samples()
    reference = _teacher(builder, samples)
    inputs = {
        "from": reference.key,
        "samples": samples.digest,
        "length": builder.lengths[-1],
        "code": code_digest("exploration", "compress", "models", "data"),
        "versions": versions("torch", "transformers", "tokenizers"),
    }

    def make(part: Path) -> None:
        from edgekit.exploration import sensitivity

        accuracy, cells = sensitivity.scan(
            reference.folder, samples.train, samples.validation, builder.lengths[-1], report
        )
        found = _summed(asked.name, accuracy, len(samples.validation), cells)
        (part / "sensitivity.json").write_text(codec.dumps(found))

    folder = builder.stages.run("sensitivity", inputs, make)
    found = codec.loads(Sensitivity, (folder / "sensitivity.json").read_text())
    if device is not None:
        found = replace(found, target=device.target, saved_ms=_saved(builder, reference, device, samples))
    return Analyzed(found, page.write_html(found, html) if html else None)


def _teacher(builder: Builder, samples: object) -> Module:
    recipe = builder.recipe
    last = max((number for number, step in enumerate(recipe.compress) if step.kind == "finetune"), default=-1)
    # with the whole recipe's samples, so that the teacher of an earlier build is found
    steps = Builder(
        replace(recipe, compress=recipe.compress[: last + 1], data=replace(recipe.data, unlabeled=None), search=None),
        builder.base,
        builder.home,
        builder.report,
    )
    model = builder.model(samples)
    steps.lengths = builder.lengths
    return steps.compress(model, samples)[0]


def _summed(name: str, accuracy: float, texts: int, cells: Iterable[Cell]) -> Sensitivity:
    kept = tuple(cells)
    share = accuracy / 100
    error = 100 * (share * (1 - share) / texts) ** 0.5
    layers = 1 + max((one.layer for one in kept if one.layer is not None), default=-1)
    return Sensitivity(name, round(accuracy, 4), texts, round(error, 4), layers, kept)


def _saved(builder: Builder, reference: Module, device: Device, samples: object) -> dict[str, float]:
    """Milliseconds a text that each method would save at each layer, by the latency table, against float."""
    from edgekit.exploration import probe

    asked = builder.recipe
    (form,) = asked.convert.formats[:1]
    if FLOAT not in FORMAT_SCHEMES[form]:
        raise BuildError(f"{form} has no float scheme to compare with", where="$.convert.formats")
    checkpoint = reference.folder
    if not (checkpoint / "edgekit.json").is_file():
        raise BuildError("the model has no structure file yet", remedy="start the recipe with a step finetune")
    _, shapes = probe.read(checkpoint)
    with Scale(builder.home, device, samples, asked.convert, builder.report) as scale:

        def price(changed: list[Shape], scheme: str = FLOAT) -> float:
            return scale.predict(checkpoint, changed, Settings(form, scheme), builder.lengths)

        whole = price(list(shapes))
        whole_dynamic = price(list(shapes), DYNAMIC) if DYNAMIC in FORMAT_SCHEMES[form] else None
        found = {}
        for number in range(len(shapes)):
            for method, change in _CHANGES.items():
                changed = change(list(shapes), number)
                if changed:
                    found[f"{method}/{number}"] = round(whole - price(changed), 6)
            if whole_dynamic is not None:
                # schemes are the whole file's: a layer's share of what the file gains
                found[f"int8 dynamic/{number}"] = round((whole - whole_dynamic) / len(shapes), 6)
    return found


def _put(changed: Shape, shapes: list[Shape], number: int) -> list[Shape]:
    return [*shapes[:number], changed, *shapes[number + 1 :]]


_CHANGES: dict[str, Callable[[list[Shape], int], list[Shape]]] = {
    "half the heads": lambda shapes, at: _put(replace(shapes[at], heads=max(1, shapes[at].heads // 2)), shapes, at),
    "half the neurons": lambda shapes, at: _put(replace(shapes[at], ffn=shapes[at].ffn // 16 * 8), shapes, at),
    "layer dropped": lambda shapes, at: shapes[:at] + shapes[at + 1 :],
}
