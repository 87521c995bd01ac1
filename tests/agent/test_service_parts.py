"""The service's parts by themselves: the cache, the queue, working ahead, slow clients."""

from __future__ import annotations

import os
import socket
import threading
import time
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from edgekit.agent.ahead import ahead
from edgekit.agent.service import connection, page
from edgekit.agent.service import desk as desk_module
from edgekit.agent.service.answers import Answers, _size
from edgekit.agent.service.connection import Answer, Asked, Connection
from edgekit.agent.service.desk import Busy, Desk, Draft, Job
from edgekit.agent.service.keeper import Keeper
from edgekit.agent.service.metrics import Counts, label, render
from edgekit.agent.service.server import Server
from edgekit.errors import DeviceError
from edgekit.spec.service import Following
from edgekit.spec.wire import Generate, Generated


@given(some.lists(some.tuples(some.sampled_from("abcdefgh"), some.binary(max_size=400))), some.integers(0, 3000))
def test_the_cache_keeps_its_bound_and_the_latest(puts: list[tuple[str, bytes]], limit: int) -> None:
    cache = Answers(limit)
    for text, answer in puts:
        cache.put((text, 1), answer)
        assert cache.size <= limit
        fits = _size((text, 1), answer) <= limit
        if fits:
            assert cache.get((text, 1)) == answer
    kept = [(one, cache.get((one, 1))) for one in "abcdefgh"]
    assert cache.size == sum(_size((text, 1), answer) for text, answer in kept if answer is not None)


def test_the_cache_drops_what_was_longest_unused() -> None:
    cache = Answers(3 * _size(("a", 1), b"x"))
    for text in "abc":
        cache.put((text, 1), b"x")
    assert cache.all([("a", 1)]) == [b"x"]
    cache.put(("d", 1), b"x")
    assert [text for text in "abcd" if cache.get((text, 1))] == ["a", "c", "d"]
    assert cache.all([("a", 1), ("b", 1)]) is None
    assert (cache.hits, cache.misses) == (4, 1)
    cache.clear()
    assert (len(cache), cache.size, cache.hits) == (0, 0, 4)


def test_the_same_text_asked_otherwise_is_another_question() -> None:
    cache = Answers(1 << 20)
    cache.put(("a", 1), b"one")
    cache.put(("a", 2), b"two")
    assert (cache.get(("a", 1)), cache.get(("a", 2))) == (b"one", b"two")


def test_the_desk_serves_in_order_and_in_batches() -> None:
    desk = Desk(10, 2)
    jobs = [Job(["a"] * count, 1) for count in (2, 1, 3, 4)]
    for one in jobs:
        desk.put(one)
    with pytest.raises(Busy, match="too many"):
        desk.put(Job(["a"], 1))
    assert desk.take(3, 0) == (jobs[:2], None)
    # one that is longer than a batch goes alone
    assert desk.take(2, 0) == ([jobs[2]], None)
    assert desk.waiting == 4
    desk.close("the end")
    assert isinstance(jobs[3].failure, Busy)
    assert desk.take(9, 0.01) == ([], None)
    with pytest.raises(Busy, match="the end"):
        desk.put(jobs[0])
    desk.open()
    desk.put(jobs[0])
    assert desk.take(9, 0) == ([jobs[0]], None)


def test_a_text_to_be_written_waits_in_the_same_line_and_goes_alone() -> None:
    desk = Desk(10, 2)
    one, two = Job(["a"], 1), Job(["b"], 1)
    drafts = [Draft(Generate(text)) for text in "xyz"]
    for put in (one, drafts[0], two, drafts[1]):
        desk.put(put)
    with pytest.raises(Busy, match="too many prompts wait"):
        desk.put(drafts[2])
    # one whose reader left makes room
    drafts[1].given_up = True
    desk.put(drafts[2])
    assert desk.take(9, 0) == ([one], None)
    assert desk.take(9, 0) == ([], drafts[0])
    assert desk.take(9, 0) == ([two], None)
    assert desk.waiting_drafts == 1
    desk.close("the end")
    assert isinstance(drafts[2].failure, Busy)
    assert desk.waiting_drafts == 0


def test_who_reads_a_draft_hears_its_end_and_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "LOOK_S", 0.01)
    written = Generated("ab", (1, 2), 1, 0, "end", 1.0, (1.0,))
    whole = Draft(Generate("x"))
    for piece in ("a", "", "b"):
        whole.add(piece)
    whole.end(written)
    assert list(whole.pieces(1.0, lambda: False)) == ["a", "", "b"]
    broken = Draft(Generate("x"))
    broken.add("a")
    broken.fail(DeviceError("it broke"))
    pieces = broken.pieces(1.0, lambda: False)
    assert next(pieces) == "a"
    with pytest.raises(DeviceError, match="it broke"):
        next(pieces)
    left = Draft(Generate("x"))
    with pytest.raises(ConnectionError):
        next(left.pieces(9.0, lambda: True))
    late = Draft(Generate("x"))
    with pytest.raises(Busy, match="its turn did not come"):
        next(late.pieces(0.05, lambda: False))
    closed = Draft(Generate("x"))
    closed.add("a")
    reading = closed.pieces(1.0, lambda: False)
    assert (next(reading), closed.given_up) == ("a", False)
    reading.close()
    assert left.given_up
    assert late.given_up
    assert closed.given_up


def test_ahead_is_map() -> None:
    assert list(ahead(str, range(100))) == [str(one) for one in range(100)]
    assert list(ahead(str, [])) == []


def test_ahead_stops_so_many_items_ahead() -> None:
    done: list[int] = []
    results = ahead(done.append, range(50), room=3)
    next(results)
    time.sleep(0.2)
    # three wait, and one is in hand
    assert len(done) <= 1 + 3 + 1
    results.close()  # type: ignore[attr-defined]
    assert len(done) < 50
    assert not any(one.name == "edgekit-ahead" for one in threading.enumerate())


def test_an_error_ahead_is_raised_in_its_place() -> None:
    results = ahead(lambda one: 1 // (3 - one), range(9))
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


class Site:
    """Echoes bodies."""

    ending = False

    def __init__(self) -> None:
        self.codes: list[int] = []

    def admit(self, method: str, path: str, headers: Message, local: bool) -> int:
        return 1 << 20

    def respond(self, asked: Asked) -> Answer:
        return Answer(200, asked.body)

    def sent(self, path: str, status: int) -> None:
        self.codes.append(status)


def carried(sender: socket.socket, receiver: socket.socket) -> tuple[Site, threading.Thread]:
    site = Site()
    thread = threading.Thread(target=lambda: (Connection(receiver, site), receiver.close()), daemon=True)
    thread.start()
    return site, thread


@pytest.mark.parametrize("drip", [0, 1], ids=["silent", "byte by byte"])
def test_a_client_that_never_finishes_is_let_go(monkeypatch: pytest.MonkeyPatch, drip: int) -> None:
    monkeypatch.setattr(connection, "REQUEST_S", 0.3)
    monkeypatch.setattr(connection, "DRAIN_S", 0.1)
    sender, receiver = socket.socketpair()
    site, thread = carried(sender, receiver)
    with sender:
        sender.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        began = time.monotonic()
        while drip and thread.is_alive() and time.monotonic() - began < 20:
            try:
                sender.sendall(b"x")
            except OSError:
                break
            time.sleep(0.02)
        thread.join(20)
        assert not thread.is_alive()
        assert site.codes == [408]
        assert sender.recv(99).startswith(b"HTTP/1.1 408")


def test_a_client_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.1)
    sender, receiver = socket.socketpair()
    site, thread = carried(sender, receiver)
    with sender:
        thread.join(20)
        assert (thread.is_alive(), site.codes, sender.recv(9)) == (False, [], b"")


def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WRITE_S", 0.2)
    sender, receiver = socket.socketpair()
    _, thread = carried(sender, receiver)
    body = b"x" * (1 << 20)
    with sender:
        sender.settimeout(0.2)
        try:
            for _ in range(50):
                sender.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except OSError:
            pass
        thread.join(20)
        assert not thread.is_alive()


def test_a_body_is_asked_for_once_the_head_is_admitted() -> None:
    sender, receiver = socket.socketpair()
    _, thread = carried(sender, receiver)
    with sender:
        sender.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert sender.recv(99) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sender.sendall(b"hello")
        assert sender.recv(999).endswith(b"\r\n\r\nhello")
    thread.join(20)


def test_labels_of_metrics_cannot_break_out() -> None:
    assert label('a"b\\c\nd') == 'a\\"b\\\\c\\nd'
    counts = Counts()
    counts.took(0.003)
    counts.took(99.0)
    text = render(counts.metrics())
    assert 'le="0.002"} 0\n' in text
    assert 'le="0.005"} 1\n' in text
    assert 'le="10.0"} 1\n' in text
    assert 'le="+Inf"} 2\n' in text


def test_the_page_takes_nothing_from_elsewhere() -> None:
    text = (page.ASKS + page.WRITES).decode()
    assert "http:" not in text
    assert "https:" not in text
    assert "innerHTML" not in text
    assert "unsafe" not in page.HEADERS["Content-Security-Policy"]


def test_only_a_spare_core_is_used_to_tokenize_ahead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each way answers the same; which one is taken is told by the thread that tokenizes."""
    from edgekit.agent import engine, tasks
    from edgekit.agent.pipeline import Tokens

    by: set[str] = set()

    class Tokenizer:
        pad_id = 0

        def __call__(self, text: str) -> Tokens:
            by.add(threading.current_thread().name)
            return Tokens(tuple(range(len(text))), False)

    class Runner:
        def run(self, length: int, ids: list[int], mask: list[int]) -> list[float]:
            return [float(sum(mask)), 3.0]

        def told(self, ids: object) -> None:
            return None

    made = engine.Engine(Tokenizer(), Runner(), tasks.Model("tflite", "", "", (8,)))  # type: ignore[arg-type]
    texts = ["a", "abcd", "abcde"]
    answers = []
    for cores, thread in (({0}, "MainThread"), ({0, 1}, "edgekit-ahead")):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
        by.clear()
        answers.append([(one.text, one.label, one.tokens) for one in made.predict(texts, ("few", "many"), 1)])
        assert by == {thread}
    assert answers[0] == answers[1] == [("a", 1, 1), ("abcd", 0, 4), ("abcde", 0, 5)]


def test_where_no_thread_can_be_had_the_client_is_told_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sent: list[tuple[str, int]] = []
    site: Any = SimpleNamespace(sent=lambda path, status: sent.append((path, status)))
    server = Server(site, [], connections=4)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        for _ in range(6):
            here, there = socket.socketpair()
            there.shutdown(socket.SHUT_WR)
            server._start(here)
            with there:
                assert there.recv(1 << 12).startswith(b"HTTP/1.1 503")
    assert sent == [("other", 503)] * 6
    assert (server._open, server._threads) == ({}, {}), "what was turned away takes no place"


def test_a_stream_text_that_nobody_waits_for_any_more_is_not_read() -> None:
    job = Job(("chess",), 1, Following("mine", "chess", 1))
    job.given_up = True
    followed: list[Following] = []
    keeper: Any = SimpleNamespace(_now=SimpleNamespace(release="r", artifact="a", follow=followed.append))
    with pytest.raises(Busy, match="waited too long"):
        Keeper._cross(keeper, [job])
    assert followed == []
