"""What a recipe that embeds texts (``task: embed``) cannot ask for: there are no labels, and nothing is classified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import SpecError
from edgekit.spec.prune import Prune
from edgekit.spec.training import Learning

if TYPE_CHECKING:
    from edgekit.spec.recipe import Recipe

#: Losses that compare classes, and none of which a vector has.
CLASSES = ("label", "logits", "self", "snapshot")


def check(recipe: Recipe) -> None:
    """Raise SpecError where the recipe asks for what a model of embeddings does not have."""
    if recipe.data.labels:
        raise _no("texts are embedded without labels", "$.data.labels", list(recipe.data.labels))
    if recipe.data.unlabeled is not None:
        raise _no("the texts are all without labels: name these as the data itself", "$.data.unlabeled", "unlabeled")
    if recipe.answers.unsure_below is not None or recipe.answers.sure_accuracy is not None:
        raise _no("an embedding is never sure", "$.answers", "task: embed")
    if recipe.search is not None:
        raise _no("a search prices its candidates by a table of classifiers' layers", "$.search", "task: embed")
    for number, step in enumerate(recipe.compress):
        _check_step(step.kind, step.options, "$.compress[{}].{}".format(number, step.kind))


def _check_step(kind: str, options: Any, where: str) -> None:
    if kind == "finetune":
        raise _no("there are no labels to train on: a student learns from the model as it is", where, kind)
    if isinstance(options, Learning) and options.epochs:
        asked = [name for name in options.losses.active if name in CLASSES]
        if asked:
            raise SpecError(
                "this loss compares classes, and an embedding has none",
                where="{}.losses.{}".format(where, asked[0]),
                given=getattr(options.losses, asked[0]),
                allowed="hidden, attention, relations, fold and embedding",
                remedy="losses: {label: 0, logits: 0, embedding: 1}",
            )
    if isinstance(options, Prune) and (options.criterion == "taylor" or options.scope == "sensitivity"):
        raise SpecError(
            "this measure asks what a cut does to the loss of a label, and there are none",
            where=where + (".criterion" if options.criterion == "taylor" else ".scope"),
            given=options.criterion if options.criterion == "taylor" else options.scope,
            remedy="criterion: magnitude, fpgm, activation or movement; scope: layer or global",
        )


def _no(message: str, where: str, given: object) -> SpecError:
    return SpecError(message, where=where, given=given, remedy="leave it out")
