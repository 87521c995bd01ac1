"""What a recipe that labels words (``task: tokens``) must bring, and what it cannot ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import SpecError
from edgekit.spec import spans
from edgekit.spec.distill import Distill
from edgekit.spec.training import Learning

if TYPE_CHECKING:
    from edgekit.spec.recipe import Recipe


def check(recipe: Recipe) -> None:
    """Raise SpecError where the recipe asks for what a model of words does not have."""
    if recipe.data.source != "jsonl":
        raise SpecError(
            "spans of a text stand in JSON lines",
            where="$.data.source",
            given=recipe.data.source,
            allowed="jsonl",
            remedy='one a line: {"text": "Ada left", "spans": [{"start": 0, "end": 3, "label": "PER"}]}',
        )
    if spans.are_tags(recipe.data.labels):
        spans.check_tags(recipe.data.labels)
    if recipe.answers.sure_accuracy is not None:
        raise SpecError(
            "a bound of sureness is fitted to texts that have one answer each, and a text has any number of spans",
            where="$.answers.sure_accuracy",
            given="task: tokens",
            remedy="name the bound itself: answers.unsure_below; it holds for each span",
        )
    if recipe.search is not None:
        raise SpecError(
            "a search prices its candidates by a table of classifiers' layers",
            where="$.search",
            given="task: tokens",
            remedy="leave search out, and build the variants one by one: edgekit build --set …",
        )
    for number, step in enumerate(recipe.compress):
        _check_step(step.options, "$.compress[{}].{}".format(number, step.kind))


def _check_step(options: Any, where: str) -> None:
    if isinstance(options, Learning) and options.losses.self:
        raise SpecError(
            "auxiliary classifiers learn the class of a text, and here each word has one",
            where=where + ".losses.self",
            given=options.losses.self,
            remedy="leave it out",
        )
    if isinstance(options, Distill) and options.teachers:
        raise SpecError(
            "several teachers' logits are kept for all texts, and here each token has some",
            where=where + ".teachers",
            given=list(options.teachers),
            remedy="leave teachers out: the last finetune's model teaches",
        )
