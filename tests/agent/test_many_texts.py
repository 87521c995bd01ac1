"""Many texts cross to the runtime in parts: a slow board is not taken for one that hangs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from service_kit import OLD_MODEL, deploy, label_of

from edgekit.agent import operations, spawn
from edgekit.agent.service.desk import Job
from edgekit.agent.service.keeper import Keeper
from edgekit.spec import wire
from edgekit.spec.service import Options

pytest.importorskip("tokenizers", reason="needs the 'host' extra")
pytest.importorskip("numpy")
TEXTS = tuple(f"chess {'mail ' * number}" for number in range(10))


@pytest.fixture
def crossings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each crossing had."""
    found: list[int] = []
    ask = spawn.Child.ask

    def counted(self: spawn.Child, op: str, task: Any, *others: Any, **named: Any) -> Any:
        if op == "ask":
            found.append(len(task.texts))
        return ask(self, op, task, *others, **named)

    monkeypatch.setattr(spawn.Child, "ask", counted)
    return found


def test_a_service_gives_each_part_its_time(root: Path, crossings: list[int]) -> None:
    deploy(root, OLD_MODEL)
    keeper = Keeper(root, Options(batch=4, spare=0))
    try:
        crossings.clear()
        first, again = Job(TEXTS, 1), Job(TEXTS[3:], 1)
        for job in (first, again):
            keeper.desk.put(job)
            assert job.done.wait(60)
        assert crossings == [4, 4, 2], "and what is known crosses no more"
        assert first.answers[3:] != again.answers, "it took no time"
        found = [json.loads(one) for one in first.answers]
        assert [(one["text"], one["label"]) for one in found] == [(one, label_of(one, OLD_MODEL)) for one in TEXTS]
    finally:
        keeper.end()


def test_an_agent_does_too_and_says_how_far_it_is(
    root: Path, crossings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(root, OLD_MODEL)
    monkeypatch.setattr(operations, "AT_ONCE", 4)
    session = operations.Session(root)
    said: list[str] = []
    try:
        found = operations.predict(session, wire.Predict(TEXTS, 1), lambda message, fraction: said.append(message))
    finally:
        session.end()
    assert crossings == [4, 4, 2]
    assert [one.text for one in found.predictions] == list(TEXTS)
    assert [one.label for one in found.predictions] == [label_of(one, OLD_MODEL) for one in TEXTS]
    assert [one for one in said if "of 10" in one] == ["4 of 10 texts", "8 of 10 texts"]
