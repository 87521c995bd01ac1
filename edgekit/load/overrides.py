"""``--set compress.0.finetune.epochs=1``: change one value of a document before it is validated."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from edgekit.errors import SpecError, UsageError
from edgekit.load.validate import path_text
from edgekit.load.yaml_text import Document, scalar


def override(document: Document, settings: Sequence[str]) -> Document:
    """The document with each ``dotted.path=value`` set; the value is YAML. Keys left out of the file may be named,
    list items must exist. A key nobody knows is for validation to refuse, which then names the setting.

    Raises UsageError where a setting has no ``=``, SpecError where the path does not fit the document.
    """
    data, places, written = copy.deepcopy(document.data), dict(document.places), dict(document.written)
    for setting in settings:
        dotted, equals, text = setting.partition("=")
        parts = re.sub(r"\[(\d+)\]", r".\1", dotted.strip().removeprefix("$.")).split(".")
        if not equals or not all(parts):
            raise UsageError(
                "--set takes key=value", given=setting, allowed="dotted.path=value", remedy="gates.size_mb=10"
            )
        place = f"--set {setting}"
        try:
            value = scalar(text)
        except SpecError as error:
            raise SpecError(error.message, where=place, given=text, remedy=error.remedy) from error
        path = _put(data, parts, value, place)
        places[path] = place
        written[path] = text
    return Document(document.name, data, places, written)


def _put(data: Any, parts: Sequence[str], value: Any, place: str) -> str:
    here: Any = data
    path: list[str | int] = []
    for n, part in enumerate(parts):
        key = _key(here, part, f"{place} {path_text(path)}")
        path.append(key)
        if n == len(parts) - 1:
            here[key] = value
        elif isinstance(here, dict):
            here = here.setdefault(key, {})
        else:
            here = here[key]
    return path_text(path)


def _key(here: Any, part: str, where: str) -> str | int:
    if isinstance(here, dict):
        return part
    if not isinstance(here, list):
        raise SpecError(f"there is nothing below a single value to set {part!r} in", where=where, given=repr(here))
    if not part.isdecimal() or int(part) >= len(here):
        allowed = f"0 to {len(here) - 1}" if here else "nothing: the list is empty; set the whole list"
        raise SpecError("no such list item", where=where, given=part, allowed=allowed)
    return int(part)
