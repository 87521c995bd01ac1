"""The service as a process: real sockets, a real child, a made runtime."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from service_kit import LABELS, WORDS, Serving, deploy, label_of, refused, stage, until
from service_kit import NEW_MODEL as NEW
from service_kit import OLD_MODEL as OLD

from edgekit.agent import release, store
from edgekit.agent.service.loaded import mark
from edgekit.spec.setting import Setting

pytest.importorskip("tokenizers", reason="needs the 'host' extra")
pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One service for all tests that leave it as it was."""
    root = tmp_path_factory.mktemp("served")
    store.prepare(root)
    deploy(root, OLD)
    with Serving(root, "--body=65536") as serving:
        yield serving


def test_texts_are_answered_in_their_order(served: Serving) -> None:
    texts = ["chess plays", "mail and music", "the kernel reads a mail", "chess plays"]
    status, answer = served.ask(*texts, top=2)
    assert status == 200
    assert len(answer["release"]) == 64
    assert answer["artifact"] == "tiny-tflite-w32_a32_float"
    assert [one["text"] for one in answer["predictions"]] == texts
    assert [one["label"] for one in answer["predictions"]] == [label_of(one, OLD) for one in texts]
    for one in answer["predictions"]:
        assert len(one["scores"]) == 2
        assert one["scores"][0]["label"] == LABELS[one["label"]]


def test_one_text_is_asked_by_its_own_field(served: Serving) -> None:
    status, body, response = served.request("POST", "/predict", b'{"text": "chess"}')
    assert (status, response.getheader("Content-Type")) == (200, "application/json")
    assert len(json.loads(body)["predictions"][0]["scores"]) == 3


def test_an_exact_question_is_answered_from_the_cache(served: Serving) -> None:
    first = served.ask("music and chess")[1]["predictions"][0]
    hits = served.health().hits
    again = served.ask("music and chess")[1]["predictions"][0]
    assert served.health().hits == hits + 1
    assert first["ms"] > 0 == again["ms"]
    assert {**first, "ms": 0} == {**again, "ms": 0}
    # another question: fewer labels
    assert len(served.ask("music and chess", top=1)[1]["predictions"][0]["scores"]) == 1
    assert served.health().hits == hits + 1
    assert served.metric("edgekit_cache_bytes") > 0


BAD = [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b"[" * 60000, 400, "not JSON"),
    (b'{"text": "\xff"}', 400, "not UTF-8"),
    (b'{"text": "\\ud800"}', 400, "surrogate"),
    (b"[]", 400, "expected a mapping"),
    (b"{}", 400, "one text or several"),
    (b'{"text": "a", "texts": ["b"]}', 400, "one text or several"),
    (b'{"text": ""}', 400, "a text is empty"),
    (b'{"texts": ["a", " \\n"]}', 400, "a text is empty"),
    (b'{"texts": []}', 400, "out of range"),
    (b'{"text": 1}', 400, "expected a text"),
    (b'{"text": "a", "top": 0}', 400, "out of range"),
    (b'{"text": "a", "top": 1e99}', 400, "expected a whole number"),
    (b'{"text": "a", "top": true}', 400, "expected a whole number"),
    (b'{"txet": "a"}', 400, "unknown key"),
    (json.dumps({"texts": ["a"] * 257}).encode(), 400, "out of range"),
    (b'{"text": "' + b"a " * 500_000 + b'"}', 413, "too large"),
]


@pytest.mark.parametrize(("body", "status", "said"), BAD, ids=[f"{n}-{said}" for n, (_, _, said) in enumerate(BAD)])
def test_a_bad_body_gets_its_error(served: Serving, body: bytes, status: int, said: str) -> None:
    got, answer, _ = served.request("POST", "/predict", body)
    error = json.loads(answer)
    assert (got, error["error"], error["exit_code"]) == (status, "SpecError", 3)
    assert said in error["message"]
    assert len(answer) < 1000
    assert served.ask("chess")[0] == 200


@pytest.mark.parametrize(
    ("head", "status", "said"),
    [
        ("GET /predict HTTP/1.1\r\nHost: x\r\n\r\n", 405, "Allow: POST"),
        ("DELETE /health HTTP/1.1\r\nHost: x\r\n\r\n", 405, "Allow: GET"),
        ("GET /pedict HTTP/1.1\r\nHost: x\r\n\r\n", 404, "did you mean '/predict'"),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404, "no such path"),
        ("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "not a length"),
        ("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "not a length"),
        ("POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 411, "needs a length"),
        ("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413, "too large"),
        ("nonsense\r\n\r\n", 400, "Bad request syntax"),
        ("GET / HTTP/9.9\r\n\r\n", 505, "Invalid HTTP version"),
        ("GET / HTTP/1.1\r\n" + "X: y\r\n" * 200 + "\r\n", 431, "headers"),
        ("GET /" + "a" * 70000 + " HTTP/1.1\r\n\r\n", 414, "too long"),
        ("POST /predict HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n\r\n", 403, "another site"),
        ("POST /predict HTTP/1.1\r\nHost: x\r\nOrigin: null\r\n\r\n", 403, "another site"),
    ],
)  # fmt: skip
def test_a_bad_head_gets_its_error(served: Serving, head: str, status: int, said: str) -> None:
    with served.connect() as connection:
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert said in answer
    assert '"error"' in answer


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while data := connection.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def test_a_head_alone_has_no_body(served: Serving) -> None:
    status, body, response = served.request("HEAD", "/health")
    assert (status, body) == (200, b"")
    assert int(response.getheader("Content-Length") or 0) > 0


def test_one_connection_carries_many_questions_also_after_an_error(served: Serving) -> None:
    from edgekit.client import connect

    connection = connect(f"unix:{served.socket}", 60.0)
    for number in range(20):
        text = " ".join(WORDS[: 1 + number % 5])
        body = b'{"bad": 1}' if number % 4 == 3 else json.dumps({"text": text}).encode()
        connection.request("POST", "/predict", body)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        assert not answer.will_close
        assert ("error" in found) if number % 4 == 3 else found["predictions"][0]["text"] == text
    connection.close()


def test_a_refused_body_is_never_read_as_the_next_request(served: Serving) -> None:
    inner = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n" + b'{"text": "chess"}'
    with served.connect() as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner)
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"404" in answer


def test_metrics_are_prometheus_text_and_add_up(served: Serving) -> None:
    served.ask("chess and mail")
    served.request("GET", "/somewhere/else")
    status, body, response = served.request("GET", "/metrics")
    assert (status, response.getheader("Content-Type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
    line = re.compile(r'(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"\n]*"(,\w+="[^"\n]*")*\})? [0-9.e+-]+)')
    lines = body.decode().splitlines()
    assert all(line.fullmatch(one) for one in lines)
    buckets = [float(one.split()[1]) for one in lines if one.startswith("edgekit_predict_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == served.metric("edgekit_predict_seconds_count") > 0
    assert served.metric('edgekit_requests_total{path="other",code="404"}') >= 1
    assert served.metric("process_resident_memory_bytes") > 1 << 20
    assert served.metric("edgekit_runtime_memory_bytes") > 1 << 20


def test_a_model_that_answers_no_number_fails_only_that_question(served: Serving) -> None:
    answers: dict[str, int] = {}
    texts = ["nan", *(f"{one} mail" for one in WORDS[:8])]

    def ask(text: str) -> None:
        answers[text] = served.ask(text)[0]

    together(ask, texts)
    assert answers.pop("nan") == 500
    assert set(answers.values()) == {200}


def together(work: Any, items: list[Any]) -> None:
    threads = [threading.Thread(target=work, args=(one,)) for one in items]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def test_clients_that_come_and_go_leave_nothing_behind(served: Serving) -> None:
    """32 of them, some seconds: every question that was waited for has its own answer, and no thread stays."""
    before = served.threads()
    wrong: list[object] = []

    def client(number: int) -> None:
        pick = random.Random(number)
        for _ in range(25):
            kind = pick.random()
            text = " ".join(pick.choices(WORDS[:10], k=pick.randint(1, 9)))
            try:
                if kind < 0.7:
                    status, answer = served.ask(text)
                    if status != 200 or answer["predictions"][0]["label"] != label_of(text, OLD):
                        wrong.append((text, status, answer))
                elif kind < 0.8:
                    status, _, _ = served.request("POST", "/predict", pick.choice([b"\xff", b"{}", b"x" * 200_000]))
                    if status not in (400, 413):
                        wrong.append(status)
                else:
                    with served.connect() as connection:
                        body = json.dumps({"text": text}).encode()
                        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
                        connection.sendall((head + body)[: pick.randint(1, len(head) + len(body))])
            except OSError as error:
                wrong.append(error)

    together(client, list(range(32)))
    assert wrong == []
    until(lambda: served.threads() <= before)


def test_a_runtime_killed_in_mid_answer_is_told_and_replaced(served: Serving) -> None:
    restarts = served.health().restarts
    status, body, response = served.request("POST", "/predict", b'{"text": "die"}')
    assert (status, response.getheader("Retry-After")) == (503, "1")
    assert json.loads(body)["message"] == "the runtime died: SIGKILL (out of memory?)"
    # asked at once: waits for the new one
    assert served.ask("chess plays mail")[0] == 200
    # and one that dies with nothing to do
    served.kill_runtime()
    until(lambda: served.health().restarts == restarts + 2)
    assert served.ask("mail plays chess")[0] == 200
    assert served.metric("edgekit_runtime_restarts_total") == restarts + 2


def test_more_than_fits_is_sent_away_with_a_word_when_to_come_back(root: Path) -> None:
    deploy(root, OLD)
    with Serving(root, "--queue=256", "--cache=0", "--batch=1") as serving:
        codes: list[int] = []
        texts = [[f"slow {'chess ' * (n % 7)}{m}" for n in range(256)] for m in range(4)]

        def ask(several: list[str]) -> None:
            status, answer = serving.ask(*several)
            codes.append(status)
            if status == 200:
                assert [one["text"] for one in answer["predictions"]] == several

        together(ask, texts)
        assert sorted(set(codes)) == [200, 503]
        assert serving.ask("chess")[0] == 200


def test_no_more_connections_than_allowed(root: Path) -> None:
    deploy(root, OLD)
    with Serving(root, "--connections=2") as serving:
        with serving.connect() as one, serving.connect() as two:
            for connection in (one, two):
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
            with serving.connect() as three:
                assert b"503" in three.recv(1 << 16)
        until(lambda: serving.request("GET", "/health")[0] == 200)


def test_a_new_release_takes_over_without_a_lost_question(root: Path) -> None:
    old = deploy(root, OLD)
    models = {old: OLD}
    with Serving(root) as serving:
        answers: list[tuple[int, dict[str, Any]]] = []
        ending = threading.Event()

        def client(number: int) -> None:
            while not ending.is_set():
                answers.append(serving.ask("chess plays", f"mail {number}", "music"))

        threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
        for one in threads:
            one.start()
        new = stage(root, NEW)
        models[new] = NEW
        release.activate(root, new)
        # not confirmed yet: the old one answers
        seen = len(answers)
        until(lambda: len(answers) > seen + 20)
        assert serving.health().release == old
        release.confirm(root, new)
        until(lambda: serving.health().release == new)
        release.rollback(root)
        until(lambda: serving.health().release == old)
        ending.set()
        for one in threads:
            one.join()
        assert serving.metric("edgekit_reloads_total") == 2
    assert {status for status, _ in answers} == {200}
    assert {answer["release"] for _, answer in answers} == {old, new}
    for _, answer in answers:
        for one in answer["predictions"]:
            assert one["label"] == label_of(one["text"], models[answer["release"]])


def test_a_new_setting_takes_over_as_a_new_release_does(root: Path) -> None:
    now = deploy(root, OLD)
    with Serving(root) as serving:
        before = serving.health().runtime
        release.settle(root, now, Setting(2, (min(os.sched_getaffinity(0)),)))
        until(lambda: serving.health().runtime != before)
        child = Path("/proc") / str(serving.health().runtime)
        assert b"OMP_NUM_THREADS=2" in (child / "environ").read_bytes().split(b"\0")
        assert os.sched_getaffinity(serving.health().runtime) == {min(os.sched_getaffinity(0))}
        assert serving.ask("chess")[0] == 200
        assert serving.metric("edgekit_reloads_total") == 1


def test_a_release_that_does_not_load_leaves_the_old_one_in_place(root: Path) -> None:
    old = deploy(root, OLD)
    with Serving(root) as serving:
        bad = deploy(root, b"broken")
        until(lambda: "damaged" in serving.health().failure)
        assert (serving.health().ok, serving.health().release) == (True, old)
        assert serving.ask("chess")[1]["release"] == old
        release.rollback(root)
        until(lambda: not serving.health().failure)
        assert bad != old
        # one that failed used the spare process up: there is another
        until(lambda: serving.children() == 2)


def test_a_look_at_the_device_tells_whether_another_release_may_be_wanted(root: Path) -> None:
    assert mark(root) is None
    deploy(root, OLD)
    old = mark(root)
    assert old is not None
    new = stage(root, NEW)
    assert mark(root) == old
    release.activate(root, new)
    pending = mark(root)
    release.confirm(root, new)
    confirmed = mark(root)
    release.rollback(root)
    assert len({old, pending, confirmed}) == 3
    assert mark(root) == old


def test_the_end_answers_what_was_asked(root: Path) -> None:
    deploy(root, OLD)
    serving = Serving(root)
    found: list[tuple[int, dict[str, Any]]] = []
    asking = threading.Thread(target=lambda: found.append(serving.ask(*(f"slow {n}" for n in range(100)))))
    with serving.connect() as idle:
        asking.start()
        # the runtime is at them: the cache has none
        until(lambda: serving.health().misses == 100)
        serving.process.send_signal(signal.SIGTERM)
        asking.join()
        assert idle.recv(10) == b""
    assert serving.end() == 0
    assert found[0][0] in (200, 503)
    assert found[0][0] == 200 or found[0][1]["message"] == "the service ends"
    assert not serving.socket.exists()


def test_the_socket_is_its_users_alone(served: Serving) -> None:
    assert stat.S_IMODE(served.socket.stat().st_mode) == 0o600


def test_a_socket_of_a_dead_service_is_taken_over(root: Path) -> None:
    deploy(root, OLD)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(root / "service.sock"))
    with Serving(root) as serving:
        assert serving.ask("chess")[0] == 200
        second = Serving(root)
        assert (second.end(), "a service runs here already" in second.said) == (5, True)
        assert serving.ask("chess")[0] == 200


def test_what_cannot_be_started_says_why(root: Path, tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere")[0] == 5
    code, said = refused(root)
    assert (code, "no release is current" in said, "edgekit deploy" in said) == (5, True, True)
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(root / "service.sock"))
        living.listen()
        code, said = refused(root)
    assert (code, "the socket is in use" in said) == (5, True)
    (root / "service.sock").unlink()
    (root / "service.sock").write_text("precious")
    code, said = refused(root)
    assert (code, "a file stands where" in said) == (5, True)
    assert (root / "service.sock").read_text() == "precious"
    code, said = refused(root, f"--socket={tmp_path}/{'long' * 40}")
    assert (code, "107 bytes" in said) == (5, True)
    code, said = refused(root, "--queue=1")
    assert (code, "out of range" in said) == (3, True)


def test_systemd_hears_that_it_is_ready_alive_and_going(root: Path, tmp_path: Path) -> None:
    deploy(root, OLD)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(60)
        systemd.bind(str(tmp_path / "notify"))
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        serving = Serving(root, environment=told)
        assert systemd.recv(99) == b"READY=1"
        assert systemd.recv(99) == systemd.recv(99) == b"WATCHDOG=1"
        assert serving.end() == 0
        heard = systemd.recv(99)
        while heard == b"WATCHDOG=1":
            heard = systemd.recv(99)
        assert heard == b"STOPPING=1"
