"""The transport to this machine keeps the same promises as the one over SSH."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.deliver.local import LocalTransport
from edgekit.errors import TransportError


@pytest.fixture
def transport(tmp_path: Path) -> Iterator[LocalTransport]:
    with LocalTransport(tmp_path / "home") as found:
        yield found


def test_streams_are_kept_apart(transport: LocalTransport) -> None:
    process = transport.start(["sh", "-c", "read word; echo out $word; echo err >&2; exit 7"])
    process.write(b"hello\n")
    assert process.readline(20) == b"out hello\n"
    assert process.readline(20) == b""
    assert process.wait(20) == 7
    assert process.stderr_tail() == "err"


def test_silence_is_a_timeout_and_loses_nothing(transport: LocalTransport) -> None:
    process = transport.start(["sh", "-c", "printf half; read go; echo whole"])
    with pytest.raises(TimeoutError):
        process.readline(0.1)
    process.write(b"\n")
    assert process.readline(20) == b"halfwhole\n"


def test_a_program_that_floods_stderr_does_not_block(transport: LocalTransport) -> None:
    process = transport.start(["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo done"])
    assert process.readline(60) == b"done\n"


def test_writing_to_a_dead_program_is_a_transport_error(transport: LocalTransport) -> None:
    process = transport.start(["true"])
    process.wait(20)
    with pytest.raises(TransportError):
        process.write(b"x" * (1 << 20))


def test_a_missing_program_is_a_transport_error(transport: LocalTransport) -> None:
    with pytest.raises(TransportError, match="cannot start"):
        transport.start(["/no/such/program"])


def test_put_resumes_and_size_tells(transport: LocalTransport, tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "a" / "b"
    source.write_bytes(bytes(range(256)) * 10_000)
    transport.mkdir(str(folder))
    sink = folder / "sink"
    assert transport.size(str(sink)) is None
    sink.write_bytes(b"!" + source.read_bytes()[1:1000])
    transport.put(source, str(sink), 1000)
    assert sink.read_bytes() == b"!" + source.read_bytes()[1:]
    transport.rename(str(sink), str(folder / "moved"))
    assert transport.size(str(folder / "moved")) == 2_560_000


def test_closing_ends_what_was_started(tmp_path: Path) -> None:
    with LocalTransport(tmp_path) as transport:
        process = transport.start(["cat"])
    assert process.wait(0) == 0
