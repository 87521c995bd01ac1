"""The command line over a pipeline whose answers are given, and whose calls must fit the real signatures."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from edgekit import pipeline
from edgekit.cli.main import main


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Call:
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def run(*argv: str) -> Ran:
        code = main(argv)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], list[Call]]:
    """``answers("status", value)`` makes ``pipeline.status`` answer; an exception is raised, a function is called."""

    def answer(name: str, value: Any) -> list[Call]:
        signature = inspect.signature(getattr(pipeline, name))
        calls: list[Call] = []

        def instead(*args: Any, **kwargs: Any) -> Any:
            signature.bind(*args, **kwargs)
            calls.append(Call(args, kwargs))
            if isinstance(value, BaseException):
                raise value
            return value(*args, **kwargs) if inspect.isfunction(value) else value

        monkeypatch.setattr(pipeline, name, instead)
        return calls

    return answer
