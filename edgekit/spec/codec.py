"""Dataclass ↔ plain JSON values, with the standard library only, for host and device alike.

Strict in both directions: an unknown key, a missing key or a wrong type is a SpecError that carries the
``$.path`` of the value, so that the same decoder serves recipes (through ``edgekit.load``), manifests and
the wire.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
import typing
from typing import Any, Dict, List, Tuple, Type, TypeVar, Union

from edgekit.errors import SpecError, nearest

T = TypeVar("T")
if sys.version_info >= (3, 10):
    import types

    _UNIONS: Tuple[Any, ...] = (Union, types.UnionType)
else:
    _UNIONS = (Union,)


def encode(value: Any) -> Any:
    """Plain JSON values for a spec value; fields that are ``None`` are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: encode(one) for name, one in pairs if one is not None}
    if isinstance(value, dict):
        return {str(key): encode(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(one) for one in value]
    return value


def dumps(value: Any) -> str:
    """Canonical JSON text: sorted keys, no spaces, UTF-8, no NaN; equal values give equal bytes."""
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON text."""
    return hashlib.sha256(dumps(value).encode("utf-8")).hexdigest()


def loads(cls: Type[T], text: Union[str, bytes], where: str = "") -> T:
    """Decode JSON text into ``cls``; SpecError where it is no JSON or does not fit."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise SpecError("not valid JSON: {}".format(error), where=where or None) from error
    try:
        return decode(cls, data)
    except SpecError as error:
        if where:
            error.where = "{} {}".format(where, error.where or "$")
        raise


def decode(cls: Type[T], data: Any, path: str = "$") -> T:
    """Build ``cls`` from plain JSON values. Raises SpecError with ``where`` set to the path."""
    result: T = _decode(cls, data, path)
    return result


def _decode(kind: Any, data: Any, path: str) -> Any:
    if kind is Any:
        return data
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, path)
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin in _UNIONS:
        inner = [one for one in arguments if one is not type(None)]
        if data is None and len(inner) < len(arguments):
            return None
        if len(inner) == 1:
            return _decode(inner[0], data, path)
        return _decode_scalar_union(inner, data, path)
    if origin is typing.Literal:
        if not any(type(data) is type(one) and data == one for one in arguments):
            hint = nearest(str(data), [str(one) for one in arguments])
            raise SpecError("not one of the known values", where=path, given=repr(data), allowed=arguments, remedy=hint)
        return data
    if origin in (tuple, list):
        if not isinstance(data, (list, tuple)):
            raise _wrong_type("a list", data, path)
        return origin(_decode(arguments[0], one, "{}[{}]".format(path, n)) for n, one in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict):
            raise _wrong_type("a mapping", data, path)
        return {key: _decode(arguments[1], one, "{}.{}".format(path, key)) for key, one in data.items()}
    return _decode_scalar(kind, data, path)


def _decode_dataclass(kind: Any, data: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong_type("a mapping", data, path)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in data:
        if key not in fields:
            raise SpecError(
                "unknown key {!r}".format(key),
                where=path,
                given=key,
                allowed=sorted(fields),
                remedy=nearest(str(key), fields),
            )
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise SpecError("missing key {!r}".format(name), where=path, remedy="add '{}:'".format(name))
    hints = _hints(kind)
    values = {key: _decode(hints[key], one, "{}.{}".format(path, key)) for key, one in data.items()}
    try:
        return kind(**values)
    except SpecError as error:
        # a check across fields knows its field, not where the value stands in the file
        inner = (error.where or "$")[1:]
        error.where = path + inner
        raise


@functools.lru_cache(maxsize=None)
def _hints(kind: Any) -> Dict[str, Any]:
    """Types by field: reading them anew takes longer than all else that decoding a small value does."""
    return typing.get_type_hints(kind)


def _decode_scalar(kind: Any, data: Any, path: str) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if isinstance(data, kind) and not (kind is int and isinstance(data, bool)):
        return data
    raise _wrong_type(_NAMES.get(kind, getattr(kind, "__name__", str(kind))), data, path)


def _decode_scalar_union(kinds: List[Any], data: Any, path: str) -> Any:
    for kind in kinds:
        try:
            return _decode(kind, data, path)
        except SpecError:
            continue
    raise _wrong_type(" or ".join(_NAMES.get(kind, str(kind)) for kind in kinds), data, path)


def _wrong_type(expected: str, data: Any, path: str) -> SpecError:
    return SpecError(
        "expected {}".format(expected), where=path, given="{!r} ({})".format(data, _name_of(data)), allowed=expected
    )


def _name_of(data: Any) -> str:
    return "nothing" if data is None else _NAMES.get(type(data), type(data).__name__)


_NAMES: Dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}
