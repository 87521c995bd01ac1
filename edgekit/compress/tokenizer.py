"""A tokenizer.json with fewer tokens, that splits the texts which use none but the kept ones as before.

Why that holds, for each kind of model:

- **WordPiece** takes the longest token that fits (Wu et al. 2016): the one it took is still there, and still longest.
- **BPE** joins the pair of the lowest rank (Sennrich et al. 2016). All tokens that a kept one can be joined from are
  kept with it, so every join that led to a used token is; leaving out joins that were never the lowest changes none.
- **Unigram** takes the split of the greatest total score (Kudo 2018): it is still there, among fewer. The token of the
  least score stays, as what an unknown character costs is counted from it.

Bytes, special tokens and the unknown token always stay, and single characters, so that every text can still be spelled;
or of those only the ones that were seen, and a word with any other becomes the unknown token.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from edgekit.errors import BuildError

#: How byte-fallback names a byte.
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
#: Whether a token is a single character that always stays.
Single = Callable[[str], bool]


def closed(tokenizer: dict[str, Any], used: set[int], seen: set[int] | None = None) -> list[int]:
    """The ids that must stay for ``used`` to stay, rising. ``tokenizer`` is tokenizer.json, decoded.

    Args:
        seen: tokens; single characters that are in none of them go. ``None``: all single characters stay.

    Raises BuildError for a kind of model whose vocabulary cannot be trimmed, or whose characters cannot.
    """
    model = tokenizer["model"]
    if model["type"] not in _KINDS:
        raise BuildError(
            "this tokenizer's vocabulary cannot be trimmed",
            given=model["type"],
            allowed=sorted(_KINDS),
            remedy="leave the step 'vocabulary' out",
            where="$.compress vocabulary",
        )
    added = {one["id"] for one in tokenizer["added_tokens"]}
    if seen is not None and not _knows_unknown(model):
        raise BuildError(
            "this tokenizer has no token for what it does not know: a character it lacks would be lost without a trace",
            given=model["type"],
            remedy="characters: all",
            where="$.compress vocabulary.characters",
        )
    there = None if seen is None else _characters(model, seen - added)

    def single(token: str) -> bool:
        bare = _bare(model, token)
        return len(bare) == 1 and (there is None or bare in there)

    return sorted(added | _KINDS[model["type"]](model, used, single))


def renumbered(tokenizer: dict[str, Any], numbers: dict[int, int]) -> dict[str, Any]:
    """tokenizer.json (decoded) with only the ids in ``numbers``, under their new numbers."""
    model = tokenizer["model"]
    return {
        **tokenizer,
        "added_tokens": [{**one, "id": numbers[one["id"]]} for one in tokenizer["added_tokens"]],
        "post_processor": _post_processor(tokenizer.get("post_processor"), numbers),
        "model": {**model, **_smaller(model, numbers)},
        "padding": None,
    }


def _wordpiece(model: dict[str, Any], used: set[int], single: Single) -> set[int]:
    characters = {number for token, number in model["vocab"].items() if single(token)}
    return used | characters | {model["vocab"][model["unk_token"]]}


def _bpe(model: dict[str, Any], used: set[int], single: Single) -> set[int]:
    vocabulary = model["vocab"]
    always = {number for token, number in vocabulary.items() if single(token) or _BYTE.fullmatch(token)}
    if model.get("unk_token") in vocabulary:
        always.add(vocabulary[model["unk_token"]])
    made_of: dict[int, set[int]] = {}
    for left, right, joined in _merges(model):
        made_of.setdefault(vocabulary[joined], set()).update((vocabulary[left], vocabulary[right]))
    kept: set[int] = set()
    new = used | always
    while new:
        kept |= new
        new = {part for one in new for part in made_of.get(one, ())} - kept
    return kept


def _unigram(model: dict[str, Any], used: set[int], single: Single) -> set[int]:
    vocabulary = model["vocab"]
    always = {number for number, (token, _) in enumerate(vocabulary) if single(token) or _BYTE.fullmatch(token)}
    least = min(range(len(vocabulary)), key=lambda number: vocabulary[number][1])
    unknown = {model["unk_id"]} if model.get("unk_id") is not None else set()
    return used | always | unknown | {least}


_KINDS: dict[str, Callable[[dict[str, Any], set[int], Single], set[int]]] = {
    "WordPiece": _wordpiece,
    "BPE": _bpe,
    "Unigram": _unigram,
}


def _knows_unknown(model: dict[str, Any]) -> bool:
    if model["type"] == "Unigram":
        return model.get("unk_id") is not None
    return model.get("unk_token") in model["vocab"]


def _characters(model: dict[str, Any], tokens: set[int]) -> set[str]:
    """All characters that ``tokens`` are made of."""
    names = [name for name, _ in model["vocab"]] if model["type"] == "Unigram" else None
    found = [names[one] for one in tokens] if names else [name for name, one in model["vocab"].items() if one in tokens]
    return {character for name in found for character in _bare(model, name)}


def _bare(model: dict[str, Any], token: str) -> str:
    """A token without the marks of where in a word it stands."""
    prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    return token.removeprefix(prefix).removesuffix(suffix)


def _smaller(model: dict[str, Any], numbers: dict[int, int]) -> dict[str, Any]:
    """What changes in ``model`` when only the ids in ``numbers`` are left."""
    if model["type"] == "Unigram":
        unknown = model.get("unk_id")
        rows = [model["vocab"][old] for old in sorted(numbers)]
        return {"vocab": rows, "unk_id": None if unknown is None else numbers[unknown]}
    kept = {token: numbers[old] for token, old in model["vocab"].items() if old in numbers}
    smaller: dict[str, Any] = {"vocab": dict(sorted(kept.items(), key=lambda one: one[1]))}
    if model["type"] == "BPE":
        pairs = zip(model["merges"], _merges(model), strict=True)
        smaller["merges"] = [merge for merge, tokens in pairs if all(token in kept for token in tokens)]
    return smaller


def _merges(model: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Left, right and joined token of each merge, in their order."""
    prefix = model.get("continuing_subword_prefix") or ""
    pairs = [one.split(" ") if isinstance(one, str) else one for one in model["merges"]]
    return [(left, right, left + right.removeprefix(prefix)) for left, right in pairs]


def _post_processor(value: Any, numbers: dict[int, int]) -> Any:
    if value is None:
        return None
    if value["type"] == "Sequence":
        return {**value, "processors": [_post_processor(one, numbers) for one in value["processors"]]}
    if value["type"] in ("BertProcessing", "RobertaProcessing"):
        return {**value, **{key: [value[key][0], numbers[value[key][1]]] for key in ("sep", "cls")}}
    if value["type"] == "TemplateProcessing":
        tokens = value["special_tokens"].items()
        return {
            **value,
            "special_tokens": {key: {**one, "ids": [numbers[old] for old in one["ids"]]} for key, one in tokens},
        }
    return value
