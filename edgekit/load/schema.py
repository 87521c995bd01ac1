"""JSON Schema of the specs, from their dataclasses; editors complete from it and ``validate`` refuses by it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(kind: type) -> dict[str, Any]:
    """JSON Schema (Draft 2020-12) of a spec dataclass: unknown keys are refused, fields carry their description."""
    (reference,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    for one in definitions.values():
        _describe(one)
        one["properties"] = {name: _plain(field) for name, field in one["properties"].items()}
        one["additionalProperties"] = False
    return {"$schema": DIALECT, "title": kind.__name__, **reference, "$defs": definitions}


def _describe(definition: dict[str, Any]) -> None:
    """Give each field the last sentence of its class's docstring that names it; tidy the docstring itself."""
    text = " ".join(definition.get("description", "").split())
    definition["description"] = text.replace("``", "")
    sentences = re.split(r"(?<=[.;])\s+(?=[A-Z`])", text)
    for name, field in definition["properties"].items():
        told = [one.replace("``", "") for one in sentences if f"``{name}``" in one]
        if told and "$ref" not in field:
            field["description"] = told[-1]


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """Write an optional field, or one of several types, without ``anyOf``, so that an error names what belongs there.

    An optional scalar may be null (``--set gates.size_mb=null`` lifts a gate); an optional object is left out instead:
    ``- finetune:`` with nothing behind it is more likely a slip than a wish for none.
    """
    if "items" in field:
        return {**field, "items": _plain(field["items"])}
    if "anyOf" not in field:
        return field
    rest = {key: value for key, value in field.items() if key != "anyOf" and not (key == "default" and value is None)}
    if all(set(one) == {"type"} for one in field["anyOf"]):
        return {**rest, "type": [one["type"] for one in field["anyOf"]]}
    (inner,) = [one for one in field["anyOf"] if one != {"type": "null"}]
    if "$ref" in inner:
        return {**rest, **inner}
    if "enum" in inner:
        return {**rest, "enum": [*inner["enum"], None]}
    return {**rest, **inner, "type": [inner["type"], "null"]}
