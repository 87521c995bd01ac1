"""YAML text → plain values, each with the line it stands on.

The scalars are YAML 1.2's: ``no``, ``on`` and ``2024-01-01`` are texts, ``1e-4`` is a number, ``010`` is ten. PyYAML
speaks 1.1, where a class called ``no`` turns into false and a learning rate of ``1e-4`` into a text. Anchors, tags and
repeated keys are refused: a recipe is read by people, and says each thing once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

from edgekit.errors import SpecError

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """``data`` as plain values; ``places`` maps a ``$.path`` to where it stands (``file:line``), ``written`` a
    scalar's path to its text in the file."""

    name: str
    data: Any
    places: dict[str, str]
    written: dict[str, str]

    def where(self, path: str) -> str:
        """``file:line $.path``; a value that is not in the file has its parent's line."""
        known = path
        while known not in self.places and known != "$":
            known = known[: max(known.rfind("."), known.rfind("["), 1)]
        return f"{self.places.get(known, self.name)} {path}"


def parse(text: str | bytes, name: str) -> Document:
    """Read one YAML document. ``name`` is what errors call the file. Raises SpecError."""
    try:
        node = _Loader(text).get_single_node()
        if node is None:
            raise SpecError("the file is empty", where=name)
        reader = _Reader(name, {}, {})
        return Document(name, reader.value(node, "$"), reader.places, reader.written)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"{name}:{mark.line + 1}" if mark else name
        raise SpecError(f"not valid YAML: {_problem(error)}", where=line, remedy=_remedy(error)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError("not a YAML text file", where=name, given=str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise SpecError("nested too deeply", where=name) from error


def scalar(text: str) -> Any:
    """The value of one YAML flow text, as after ``--set key=``. Raises SpecError."""
    return parse(text, "value").data if text.strip() else None


class _Loader(yaml.SafeLoader):
    """Composes nodes with YAML 1.2's core scalars."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}  # type: ignore[misc]

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem="anchors are not accepted", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


_NUMBER_START = list("-+.0123456789")
_Loader.add_implicit_resolver(_TAG + "bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_TAG + "int", re.compile(r"^[-+]?[0-9]+$"), _NUMBER_START)
_Loader.add_implicit_resolver(
    _TAG + "float", re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"), _NUMBER_START
)

_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "str": str,
    _TAG + "int": int,
    _TAG + "float": float,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "null": lambda text: None,
}


@dataclass(frozen=True)
class _Reader:
    """Turns nodes into values and notes where each stands."""

    name: str
    places: dict[str, str]
    written: dict[str, str]

    def value(self, node: yaml.Node, path: str, line: int | None = None) -> Any:
        place = f"{self.name}:{(node.start_mark.line if line is None else line) + 1}"
        self.places[path] = place
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(one, f"{path}[{n}]") for n, one in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            self.written[path] = node.value
            return self._scalar(node, f"{place} {path}")
        raise SpecError("tags are not accepted", where=f"{place} {path}", given=node.tag)

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line
            where = f"{self.name}:{line + 1} {path}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError("a key is a plain word", where=where)
            key = key_node.value
            if key in values:
                first = self.places[f"{path}.{key}"].rpartition(":")[2]
                raise SpecError(
                    f"the key {key!r} stands here twice",
                    where=f"{where}.{key}",
                    remedy=f"keep this one or line {first}'s",
                )
            values[key] = self.value(value_node, f"{path}.{key}", line)
        return values

    @staticmethod
    def _scalar(node: yaml.ScalarNode, where: str) -> Any:
        try:
            value = _SCALARS[node.tag](node.value)
        except ValueError as error:
            raise SpecError("not a number", where=where, given=node.value[:40]) from error
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            raise SpecError("the number is too large", where=where, given=node.value)
        return value


def _problem(error: yaml.MarkedYAMLError) -> str:
    parts = [error.context, error.problem]
    return ", ".join(str(one) for one in parts if one) or "it does not parse"


def _remedy(error: yaml.MarkedYAMLError) -> str | None:
    problem = str(error.problem)
    if "'\\t'" in problem:
        return "indent with spaces, never with tabs"
    if "anchors" in problem:
        return "write the value out"
    if "mapping values are not allowed" in problem:
        return "put a text that holds ': ' in quotes, and check the indentation"
    return None
