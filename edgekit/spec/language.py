"""What a recipe cannot ask for because of its task; here what a language model's cannot, and what only that one can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import SpecError
from edgekit.spec import embed, tokens
from edgekit.spec.distill import Distill
from edgekit.spec.shape import Factor, Hash
from edgekit.spec.task import CLASSIFY, EMBED, LANGUAGE, TOKENS
from edgekit.spec.training import Learning

if TYPE_CHECKING:
    from edgekit.spec.recipe import Recipe


def check_task(recipe: Recipe) -> None:
    """Raise SpecError where the recipe asks for what its task does not have."""
    if recipe.gates.f1_drop is not None and recipe.task != TOKENS:
        raise SpecError(
            "only spans have an F1",
            where="$.gates.f1_drop",
            given="task: {}".format(recipe.task),
            remedy="bound accuracy_drop instead, or task: tokens",
        )
    if recipe.data.windows is not None and recipe.task != CLASSIFY:
        raise SpecError(
            "only a classifier reads a long text window by window",
            where="$.data.windows",
            given="task: {}".format(recipe.task),
            remedy="leave it out, or task: classify",
        )
    if recipe.task != EMBED:
        _check_no_embedding(recipe)
    if recipe.task == LANGUAGE:
        _check_language(recipe)
        return
    _check_no_language(recipe)
    if recipe.task == TOKENS:
        tokens.check(recipe)
    elif recipe.task == EMBED:
        embed.check(recipe)


def _check_no_embedding(recipe: Recipe) -> None:
    asked = {
        "$.gates.mean_cosine": recipe.gates.mean_cosine,
        "$.gates.least_cosine": recipe.gates.least_cosine,
        "$.model.pooling": recipe.model.pooling,
    }
    for where, value in asked.items():
        if value is not None:
            raise SpecError(
                "only a text's embedding has such a thing",
                where=where,
                given="task: {}".format(recipe.task),
                remedy="leave it out, or task: embed",
            )


def _check_language(recipe: Recipe) -> None:
    if recipe.data.labels:
        raise SpecError(
            "a language model learns the next token: its texts have no labels",
            where="$.data.labels",
            given=list(recipe.data.labels),
            remedy="leave it out, or task: classify",
        )
    if recipe.data.unlabeled is not None:
        raise SpecError(
            "a language model's texts are all without labels",
            where="$.data.unlabeled",
            remedy="name these texts as the data itself (data.source, data.files)",
        )
    if recipe.answers.unsure_below is not None or recipe.answers.sure_accuracy is not None:
        raise SpecError(
            "a language model goes on with a token, and is never sure of it",
            where="$.answers",
            given="task: language",
            remedy="leave unsure_below and sure_accuracy out, or task: classify",
        )
    if recipe.search is not None:
        raise SpecError(
            "a search prices its candidates by a table of classifiers' layers",
            where="$.search",
            given="task: language",
            remedy="leave search out, and build the variants one by one: edgekit build --set …",
        )
    for number, step in enumerate(recipe.compress):
        _check_step(step.options, "$.compress[{}].{}".format(number, step.kind))


def _check_no_language(recipe: Recipe) -> None:
    if recipe.gates.perplexity_rise is not None:
        raise SpecError(
            "only a language model has a perplexity",
            where="$.gates.perplexity_rise",
            given="task: {}".format(recipe.task),
            remedy="bound accuracy_drop instead, or task: language",
        )
    if recipe.convert.generation is not None and recipe.task != CLASSIFY:
        raise SpecError(
            "only language models generate, and only classifiers follow streams",
            where="$.convert.generation",
            given="task: {}".format(recipe.task),
            remedy="leave it out, or task: language",
        )
    if recipe.convert.generation is not None and recipe.convert.formats != ("tflite",):
        raise SpecError(
            "a classifier follows a stream as tflite",
            where="$.convert.formats",
            given=list(recipe.convert.formats),
            allowed=["tflite"],
            remedy="leave the others out, or generation",
        )
    if recipe.data.source == "text" and recipe.task != EMBED:
        raise SpecError(
            "a file of plain lines has no labels",
            where="$.data.source",
            given="text",
            allowed=["debian-sections", "jsonl", "csv", "hf"],
            remedy="give the texts labels, or task: language",
        )


def _check_step(options: Any, where: str) -> None:
    if isinstance(options, Factor) and options.embedding is not None:
        raise _tied("factored", where + ".embedding", "leave embedding out; attention and ffn can be factored")
    if isinstance(options, Hash):
        raise _tied("hashed", where, "leave the step out, or trim the table: vocabulary")
    if isinstance(options, Learning) and options.losses.self:
        raise SpecError(
            "auxiliary classifiers learn classes, and a language model has none",
            where=where + ".losses.self",
            given=options.losses.self,
            remedy="leave it out",
        )
    if isinstance(options, Distill) and options.teachers:
        raise SpecError(
            "several teachers' logits are kept for all texts, and a language model has as many as tokens at each place",
            where=where + ".teachers",
            given=list(options.teachers),
            remedy="leave teachers out: the last finetune's model teaches",
        )


def _tied(what: str, where: str, remedy: str) -> SpecError:
    return SpecError(
        "a language model's output is its word embedding again, and is not to be {}".format(what),
        where=where,
        remedy=remedy,
    )
