"""``edgekit serve``, ``deploy --service`` and asking a service by its URL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit.outcome import Assessed, Deployed, Served, Share
from edgekit.spec.service import Answering, ServiceState
from edgekit.spec.wire import Prediction, Predictions, Score, Status

RUNNING = ServiceState(
    unit="/etc/systemd/system/edgekit.service",
    scope="system",
    active="active",
    socket="/root/.local/share/edgekit/service.sock",
    listen="127.0.0.1:8765",
    answering=Answering(True, "cd" * 32, "student", requests=7, hits=3, misses=9, restarts=1, runtime=88),
    notes=("it ends when pi logs out",),
)
STATUS = Status((), service=RUNNING)
SAID = [
    "service active (system), on unix:/root/.local/share/edgekit/service.sock and http://127.0.0.1:8765",
    "release cdcdcdcdcdcd, 7 requests, 25% of 12 texts from its cache, runtime restarted 1 times",
    "it ends when pi logs out",
]


def test_a_device_is_told_to_serve(cli: Any, answers: Any) -> None:
    calls = answers("service", STATUS)
    ran = cli("serve", "--device", "pi", "--listen", "0.0.0.0:8765", "--token-file", "token")
    assert ran.code == 0
    assert all(one in ran.out for one in SAID)
    asked = {"device": "pi", "listen": "0.0.0.0:8765", "token_file": Path("token"), "remove": False}
    assert {name: calls[0].kwargs[name] for name in asked} == asked
    assert cli("serve", "--device", "pi", "--remove").code == 0
    assert calls[1].kwargs["remove"] is True


def test_status_shows_the_service(cli: Any, answers: Any) -> None:
    answers("status", STATUS)
    assert all(one in cli("status", "--device", "pi").out for one in SAID)
    assert cli("status", "--device", "pi", "--json").json["service"]["answering"]["hits"] == 3
    answers("status", replace(STATUS, service=replace(RUNNING, answering=None, active="failed")))
    assert "it does not answer" in cli("status", "--device", "pi").out


def test_deploy_shows_the_service_it_was_asked_for(cli: Any, answers: Any) -> None:
    calls = answers("deploy", Deployed("pi", Path("/b"), "cd" * 32, (), already=True, service=RUNNING))
    ran = cli("deploy", "--device", "pi", "--service")
    assert "already deployed" in ran.out
    assert SAID[0] in ran.out
    assert calls[0].kwargs["service"] is True


def test_here_it_becomes_the_service(cli: Any, answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served("cd" * 32, "unix:/s", "http://127.0.0.1:1", ("python3", "agent.pyz", "serve"))
    answers("serve_local", served)
    become: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr("os.execvp", lambda program, words: become.append((program, words)))
    ran = cli("serve", "--local", "bundle")
    assert (ran.code, become) == (0, [("python3", served.command)])
    assert "serving cdcdcdcdcdcd at unix:/s" in ran.out
    assert cli("serve", "--local", "bundle", "--json").json["socket"] == "unix:/s"
    assert len(become) == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["serve", "--local", "b", "--device", "pi"], "without a device"),
        (["serve", "--device", "pi", "--socket", "/s"], "--socket belongs to --local"),
        (["deploy", "--device", "pi", "--listen", "x:1"], "belong to --service"),
        (["predict", "a", "--url", "nonsense"], "not the address of a service"),
        (["predict", "a", "--url", "unix:/s", "--device", "pi"], "not both"),
        (["predict", " ", "--url", "unix:/s"], "a text is empty"),
        (["predict"], "texts, or --samples"),
        (["predict", "a", "--samples", "x.csv"], "texts, or --samples"),
        (["generate", " ", "--url", "unix:/s"], "the prompt is empty"),
        (["generate", "a", "--url", "unix:/s", "--device", "pi"], "not both"),
        (["predict", "a", "--url", "unix:/s", "--token-file", "/nowhere"], "the token cannot be read"),
    ],
)
def test_what_does_not_fit_together_is_refused(cli: Any, argv: list[str], said: str) -> None:
    ran = cli(*argv)
    assert (ran.code, said in ran.err) == (2, True)


def test_how_many_were_handed_on_is_told(cli: Any, answers: Any) -> None:
    one = Prediction("a", 0, (Score("games", 0.9),), 1, 8, False, 1.0)
    answers("predict", Predictions("cd" * 32, "student", (one, one), handed=(1,)))
    ran = cli("predict", "a", "b", "--device", "pi", "--fallback", "http://server:1")
    assert "1 of 2 were unsure, and answered by http://server:1" in ran.out


def test_what_stays_local_at_which_accuracy_is_a_table(cli: Any, answers: Any) -> None:
    rows = (Share(0.0, 100.0, 80.0, 0, None, 80.0), Share(0.61, 50.0, 96.0, 10, 90.0, 93.0))
    own = Share(None, 75.0, 93.3, 5, 80.0, 90.0)
    calls = answers("assess", Assessed("cd" * 32, "student", 20, rows, own, "http://server:1", 95.0))
    argv = ("predict", "--samples", "held.csv", "--device", "pi", "--fallback", "http://server:1")
    ran = cli(*argv)
    lines = [" ".join(one.split()) for one in ran.out.splitlines()]
    assert "sure from stay here of them right handed on of them right there right together" in lines
    assert "0.6100 50.0 % 96.0 % 10 90.0 % 93.0 %" in lines
    assert "its own 75.0 % 93.3 % 5 80.0 % 90.0 %" in lines
    assert "handed on to http://server:1, which alone is right in 95.0 % of them" in lines
    assert calls[0].args == (Path("held.csv"),)
    assert cli(*argv, "--json").json["rows"][1]["together"] == 93.0
    answers("assess", Assessed("cd" * 32, "student", 20, rows, own))
    assert "handed" not in cli("predict", "--samples", "held.csv").out
