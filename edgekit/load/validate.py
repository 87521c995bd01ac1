"""Plain values → a spec value, or every problem at once, each with its place, what was given and what is allowed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from edgekit.errors import SpecError, nearest
from edgekit.load.schema import schema
from edgekit.load.yaml_text import Document
from edgekit.spec import codec

T = TypeVar("T")

_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


class Problems(SpecError):
    """Several things wrong with one file; ``problems`` are the errors, in the order of the file."""

    def __init__(self, name: str, problems: Sequence[SpecError]) -> None:
        super().__init__(f"{len(problems)} problems", where=name)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([f"{self.where}: {self.message}", *(str(one) for one in self.problems)])

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "error": "SpecError", "problems": [one.to_json() for one in self.problems]}


def validate(document: Document, kind: type[T]) -> T:
    """Build ``kind`` from a document. Raises SpecError: one for a single problem, ``Problems`` for several."""
    violations = Draft202012Validator(schema(kind)).iter_errors(document.data)
    explained = {str(one): one for error in violations for one in _explain(error, document)}
    problems = sorted(explained.values(), key=_line)
    if len(problems) > 1:
        raise Problems(document.name, problems)
    if problems:
        raise problems[0]
    try:
        return codec.decode(kind, document.data)
    except SpecError as error:
        error.where = document.where(error.where or "$")
        raise


def _line(problem: SpecError) -> tuple[int, str]:
    """Sorts by the line in the file; what comes from ``--set`` stands last."""
    where = str(problem.where)
    number = re.search(r":(\d+) \$", where)
    return (int(number[1]) if number and not where.startswith("--set") else sys.maxsize, where)


def _explain(error: ValidationError, document: Document) -> Iterator[SpecError]:
    """One schema violation in our own words; several where one violation tells of several keys."""
    path = path_text(error.absolute_path)
    rule: Any = error.validator_value
    given: Any = error.instance
    known: Any = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    if error.validator == "additionalProperties":
        for key in [one for one in given if one not in known]:
            yield SpecError(
                f"unknown key {key!r}",
                where=document.where(f"{path}.{key}"),
                given=key,
                allowed=sorted(known),
                remedy=nearest(key, known),
            )
    elif error.validator == "required":
        for key in [one for one in rule if one not in given]:
            yield SpecError(
                f"missing key {key!r}",
                where=document.where(path),
                given=", ".join(given) or "an empty mapping",
                allowed=sorted(known),
                remedy=f"add '{key}:'",
            )
    elif error.validator == "enum":
        yield SpecError(
            "not one of the known values",
            where=document.where(path),
            given=repr(given),
            allowed=rule,
            remedy=nearest(str(given), [str(one) for one in rule]),
        )
    elif error.validator == "type":
        yield _wrong_type(rule if isinstance(rule, list) else [rule], given, path, document)
    else:
        yield SpecError(error.message, where=document.where(path))


def _wrong_type(kinds: Sequence[str], given: Any, path: str, document: Document) -> SpecError:
    expected = _NAMES[kinds[0]]
    written = document.written.get(path, "")
    remedy = None
    if kinds[0] == "string" and isinstance(given, (bool, int, float)):
        remedy = f'put it in quotes: "{written or given}"'
    elif kinds[0] == "array" and not isinstance(given, (dict, list)):
        remedy = f"write a list: [{written or given}]"
    elif kinds[0] == "object" and given is None:
        remedy = "write {} for all defaults, or leave the key out"
    return SpecError(
        f"expected {expected}",
        where=document.where(path),
        given=f"{given!r} ({_name_of(given)})" if given is not None else "nothing",
        allowed=" or ".join(_NAMES[one] for one in kinds),
        remedy=remedy,
    )


def path_text(parts: Sequence[str | int]) -> str:
    """``$.compress[0].finetune`` for its parts."""
    return "$" + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in parts)


def _name_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return _NAMES[names[type(value)]]
