"""Requests in, replies out, one JSON document a line: the agent to its host, and a child to the agent, alike."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Type

from edgekit.errors import DeviceError, EdgekitError, ProtocolError, nearest
from edgekit.spec import codec, wire
from edgekit.spec.progress import Report

#: Told of each failed request: the operation, the error as JSON, and the traceback where nobody foresaw it.
OnFailure = Callable[[str, Dict[str, Any], Optional[str]], None]


@dataclass(frozen=True)
class Operation:
    """``args`` is the type of the arguments; ``run`` answers a spec value, or ``None`` for nothing to say."""

    args: Type[Any]
    run: Callable[[Any, Report], Any]


class HungUp(Exception):
    """Nobody listens to the agent any more."""


class Lines:
    """Whole lines from a descriptor that may also be waited on with ``select``."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.closed = False
        self._buffer = b""

    def fileno(self) -> int:
        return self.handle

    def fill(self) -> None:
        """Read what is there, waiting for at least one byte or the end."""
        data = os.read(self.handle, 1 << 16)
        self._buffer += data
        self.closed = not data

    def pop(self) -> Optional[bytes]:
        """The next whole line that has been read, or ``None``."""
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        self._buffer = rest
        return line

    def next(self) -> Optional[bytes]:
        """The next whole line, waiting for it; ``None`` at the end."""
        line = self.pop()
        while line is None and not self.closed:
            self.fill()
            line = self.pop()
        return line


def claim_stdout() -> int:
    """Keep stdout for replies alone; what anything else prints goes to stderr from now on. Answers its descriptor."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


def send(handle: int, value: Any) -> None:
    """Write one line, whole. Raises BrokenPipeError when nobody listens any more."""
    data = codec.dumps(value).encode("utf-8", "replace") + b"\n"
    while data:
        data = data[os.write(handle, data) :]


def serve(requests: Lines, out: int, operations: Mapping[str, Operation], on_failure: OnFailure) -> None:
    """Answer requests until there are no more."""
    line = requests.next()
    while line is not None:
        if line.strip():
            try:
                send(out, answer(line, out, operations, on_failure))
            except BrokenPipeError:
                return
        line = requests.next()


def answer(line: bytes, out: int, operations: Mapping[str, Operation], on_failure: OnFailure) -> wire.Reply:
    """Carry out one request; progress goes to ``out`` meanwhile. Every failure becomes a reply."""
    number, name = -1, "?"
    try:
        request = _decode(line)
        number, name = request.id, request.op
        operation = operations.get(name)
        if operation is None:
            raise ProtocolError(
                "unknown operation", given=name, allowed=sorted(operations), remedy=nearest(name, operations)
            )
        args = codec.decode(operation.args, request.args, "$.args")

        def report(message: str, fraction: Optional[float] = None) -> None:
            send(out, wire.Reply(number, "progress", fraction=fraction, message=message))

        result = operation.run(args, report)
        return wire.Reply(number, "done", {} if result is None else codec.encode(result))
    except (BrokenPipeError, HungUp):
        raise
    except EdgekitError as error:
        failure = error.to_json()
        on_failure(name, failure, None)
    except OSError as error:
        failure = _from_os(error).to_json()
        on_failure(name, failure, traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - a bug must reach the host as a reply, not as a closed channel
        failure = {"error": type(error).__name__, "message": str(error), "exit_code": EdgekitError.exit_code}
        on_failure(name, failure, traceback.format_exc())
    return wire.Reply(number, "failed", error=failure)


def _decode(line: bytes) -> wire.Request:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise ProtocolError("not a line of JSON: {}".format(error)) from error
    return codec.decode(wire.Request, data)


def _from_os(error: OSError) -> EdgekitError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DeviceError(
            "the device's disk is full", where=error.filename, remedy="free space there, or 'edgekit prune-releases'"
        )
    return DeviceError("the device's system refused: {}".format(error), where=error.filename)
