"""Every error edgekit raises on purpose, and the exit code the command line gives it.

    EdgekitError                    1   a bug, unless a subclass says otherwise
    ├── UsageError                  2   the call itself is off: a bad flag, nothing or several to choose from
    │   └── MissingExtra            2   an optional dependency is not installed
    ├── SpecError                   3   a recipe, target, device or data file is not acceptable
    │   ├── DataError               3   the samples cannot be used
    │   ├── BundleError             3   a bundle is damaged, incomplete or not trusted
    │   └── BuildError              3   a stage could not do what the recipe asks of this model
    ├── GateMissed                  4   no candidate met the recipe's gates
    ├── PreflightError              5   the device cannot take this bundle
    │   └── DeviceError             5   the device took it but could not run it
    ├── TransportError              6   the connection failed
    │   ├── HostKeyError            6   the device is not the one that was registered
    │   └── ProtocolError           6   the other side speaks another protocol
    └── RolledBack                  7   the device refused the release and went back

A message names what was given, what is allowed and how to mend it. The parts are kept apart so that
``--json`` can hand them on and a terminal can lay them out.
"""

from __future__ import annotations

import difflib
from typing import Any, Dict, Iterable, Optional, Sequence


class EdgekitError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: one sentence saying what is wrong.
        given: the offending value, as the user wrote it.
        allowed: what would have been accepted.
        remedy: what to do about it.
        where: the place: ``file:line $.path``, a device name, a bundle digest.
        details: plain JSON values for programs; only ``to_json`` tells them.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        given: Optional[object] = None,
        allowed: Optional[object] = None,
        remedy: Optional[str] = None,
        where: Optional[str] = None,
        details: Optional[Dict[str, Any]] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.given = given
        self.allowed = allowed
        self.remedy = remedy
        self.where = where
        self.details = details

    def __str__(self) -> str:
        head = "{}: {}".format(self.where, self.message) if self.where else self.message
        lines = [head]
        if self.given is not None:
            lines.append("  given:   {}".format(self.given))
        if self.allowed is not None:
            lines.append("  allowed: {}".format(_as_text(self.allowed)))
        if self.remedy:
            lines.append("  mend:    {}".format(self.remedy))
        return "\n".join(lines)

    def to_json(self) -> Dict[str, Any]:
        """The error as plain JSON values; ``None`` parts are left out."""
        parts: Dict[str, Any] = {
            "error": type(self).__name__,
            "message": self.message,
            "exit_code": self.exit_code,
            "where": self.where,
            "given": None if self.given is None else str(self.given),
            "allowed": None if self.allowed is None else _as_text(self.allowed),
            "mend": self.remedy,
            "details": self.details,
        }
        return {key: value for key, value in parts.items() if value is not None}


class UsageError(EdgekitError):
    exit_code = 2


class MissingExtra(UsageError):
    """An optional dependency is missing; says which extra brings it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            "this needs '{}', which is not installed".format(package),
            remedy="pip install 'edgekit[{}]'".format(extra),
        )


class SpecError(EdgekitError):
    exit_code = 3


class DataError(SpecError):
    pass


class BundleError(SpecError):
    pass


class BuildError(SpecError):
    pass


class GateMissed(EdgekitError):
    exit_code = 4


class PreflightError(EdgekitError):
    exit_code = 5


class DeviceError(PreflightError):
    pass


class TransportError(EdgekitError):
    exit_code = 6


class HostKeyError(TransportError):
    pass


class ProtocolError(TransportError):
    pass


class RolledBack(EdgekitError):
    exit_code = 7


def from_json(parts: Dict[str, Any], where: str) -> EdgekitError:
    """The error that ``EdgekitError.to_json`` described at ``where``, elsewhere; an unknown kind is a DeviceError."""
    kind = globals().get(str(parts.get("error")), DeviceError)
    if not (isinstance(kind, type) and issubclass(kind, EdgekitError)):
        kind = DeviceError
    found: EdgekitError = kind.__new__(kind)
    # subclasses may take other arguments; the parts are those of the base
    EdgekitError.__init__(
        found,
        str(parts.get("message") or "the device failed without a word"),
        given=parts.get("given"),
        allowed=parts.get("allowed"),
        remedy=parts.get("mend"),
        where="{}: {}".format(where, parts["where"]) if parts.get("where") else where,
    )
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """A 'did you mean' sentence for a mistyped name, or the whole list where nothing is near."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return "did you mean {}?".format(" or ".join(repr(one) for one in close))
    return "known: {}".format(", ".join(names) if names else "none")


def _as_text(allowed: object) -> str:
    if isinstance(allowed, (list, tuple, set, frozenset)):
        values: Sequence[object] = sorted(allowed, key=str) if isinstance(allowed, (set, frozenset)) else allowed
        return ", ".join(str(one) for one in values)
    return str(allowed)
