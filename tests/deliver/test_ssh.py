"""The SSH transport against a real sshd."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from sshd_kit import Server, free_port, key

from edgekit.deliver import connect, connection, hostkeys, route
from edgekit.deliver.ssh import SshTransport
from edgekit.errors import DeviceError, HostKeyError, TransportError

PATTERN = os.urandom(1 << 16)


@pytest.fixture
def transport(server: Server) -> Iterator[SshTransport]:
    with connect(server.device) as found:
        yield found


def file_of(folder: Path, size: int) -> Path:
    file = folder / "model.bin"
    file.write_bytes((PATTERN * (size // len(PATTERN) + 1))[:size])
    return file


def test_a_program_is_started_with_its_arguments_unchanged(transport: SshTransport) -> None:
    argv = ["printf", "%s\\n", "a b", "$HOME", "'; exit 3 #"]
    process = transport.start(argv)
    assert [process.readline(20) for _ in range(4)] == [b"a b\n", b"$HOME\n", b"'; exit 3 #\n", b""]
    assert process.wait(20) == 0


def test_streams_are_kept_apart_and_stdin_reaches_the_program(transport: SshTransport) -> None:
    process = transport.start(["sh", "-c", "read word; echo out $word; echo err >&2; exit 7"])
    process.write(b"hello\n")
    assert process.readline(20) == b"out hello\n"
    assert process.wait(20) == 7
    assert process.stderr_tail() == "err"


def test_a_program_that_floods_stderr_does_not_block(transport: SshTransport) -> None:
    process = transport.start(["sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x >&2; echo done"])
    assert process.readline(60) == b"done\n"
    assert 0 < len(process.stderr_tail()) <= 8192


def test_silence_is_a_timeout_and_loses_nothing(transport: SshTransport) -> None:
    process = transport.start(["sh", "-c", "printf half; read go; echo whole"])
    with pytest.raises(TimeoutError):
        process.readline(0.2)
    process.write(b"\n")
    assert process.readline(20) == b"halfwhole\n"


def test_a_file_arrives_whole_and_progress_reaches_one(transport: SshTransport, tmp_path: Path) -> None:
    source, sink = file_of(tmp_path, 3_000_001), tmp_path / "there"
    heard: list[float | None] = []
    transport.put(source, str(sink), 0, lambda _, fraction: heard.append(fraction))
    assert sink.read_bytes() == source.read_bytes()
    assert heard == sorted(heard, key=lambda one: one or 0)
    assert heard[-1] == 1.0
    assert transport.size(str(sink)) == 3_000_001


def test_a_file_is_resumed_from_its_offset(transport: SshTransport, tmp_path: Path) -> None:
    source, sink = file_of(tmp_path, 1_000_000), tmp_path / "there"
    sink.write_bytes(b"!" * 10 + source.read_bytes()[10:400_000])
    transport.put(source, str(sink), 400_000)
    # the marker shows that what was there was not sent again
    assert sink.read_bytes() == b"!" * 10 + source.read_bytes()[10:]


def test_an_empty_file_arrives(transport: SshTransport, tmp_path: Path) -> None:
    transport.put(file_of(tmp_path, 0), str(tmp_path / "there"))
    assert (tmp_path / "there").read_bytes() == b""


def test_folders_are_made_with_their_parents_and_files_replaced(transport: SshTransport, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    transport.mkdir(str(deep))
    transport.mkdir(str(deep))
    (deep / "new").write_text("new")
    (deep / "old").write_text("old")
    transport.rename(str(deep / "new"), str(deep / "old"))
    assert (deep / "old").read_text() == "new"
    assert transport.size(str(deep / "new")) is None


def test_an_unwritable_place_is_the_devices_error_not_the_connections(transport: SshTransport, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot write"):
        transport.put(file_of(tmp_path, 10), str(tmp_path / "absent" / "there"))
    assert transport.size("/") is not None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named(transport: SshTransport, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot write") as caught:
        transport.put(file_of(tmp_path, 500_000), "/dev/full")
    assert "free space" in str(caught.value)


def test_an_authenticated_cipher_is_negotiated(server: Server) -> None:
    with connect(server.device) as found:
        assert found._client.remote_cipher == connection.CIPHERS[0]


def test_another_host_key_is_refused_with_both_fingerprints(server: Server, tmp_path: Path) -> None:
    other = key(tmp_path / "other")
    with pytest.raises(HostKeyError) as caught:
        connect(replace(server.device, host_key=other))
    error = caught.value
    shown = subprocess.run(
        ["ssh-keygen", "-lf", f"{server.folder}/host.pub"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[1] in str(error.given)
    assert hostkeys.fingerprint(other) in str(error.allowed)
    assert "edgekit device remove" in str(error)
    assert error.exit_code == 6


def test_a_key_of_another_type_is_refused_too(server: Server, tmp_path: Path) -> None:
    with pytest.raises(HostKeyError):
        connect(replace(server.device, host_key=key(tmp_path / "other", "ecdsa")))


def test_without_a_pinned_key_known_hosts_decides(server: Server, own_home: Path) -> None:
    unpinned = replace(server.device, host_key=None)
    with pytest.raises(HostKeyError, match="nothing is known"):
        connect(unpinned)
    known = own_home / ".ssh" / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {server.device.host_key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    connect(unpinned).close()


def test_the_servers_key_can_be_asked_for(server: Server) -> None:
    found = route.resolve(route.Address("127.0.0.1", None, server.port), route.read_config())
    assert connection.host_key_of(found) == server.device.host_key


def test_a_refused_login_says_what_was_tried_and_keeps_secrets(server: Server, tmp_path: Path) -> None:
    key(tmp_path / "stranger")
    with pytest.raises(TransportError) as caught:
        connect(replace(server.device, key_file=str(tmp_path / "stranger")))
    assert "refused" in str(caught.value)
    assert "ssh-ed25519" in str(caught.value)
    secret = (tmp_path / "stranger").read_text().splitlines()[1]
    assert secret not in json.dumps(caught.value.to_json())


def test_an_encrypted_key_is_told(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret words", "-f", str(file)], check=True)
    with pytest.raises(TransportError, match="refused") as caught:
        connect(replace(server.device, key_file=str(file)))
    assert "encrypted: ssh-add it" in str(caught.value)


@pytest.mark.parametrize(("content", "word"), [(None, "No such file"), ("nonsense", "not a private key")])
def test_a_bad_key_file_is_told(server: Server, tmp_path: Path, content: str | None, word: str) -> None:
    file = tmp_path / "bad"
    if content is not None:
        file.write_text(content)
    with pytest.raises(TransportError) as caught:
        connect(replace(server.device, key_file=str(file)))
    assert word in str(caught.value)


def test_ssh_agent_is_asked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        add = ["ssh-add", "-q", f"{server.folder}/client"]
        while not socket.exists() or subprocess.run(add, capture_output=True, check=False).returncode:
            assert agent.poll() is None
            time.sleep(0.02)
        connect(replace(server.device, key_file=None)).close()
    finally:
        agent.terminate()
        agent.wait()


def test_nobody_listening_names_the_address(server: Server) -> None:
    port = free_port()
    with pytest.raises(TransportError) as caught:
        connect(replace(server.device, port=port))
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert caught.value.remedy


def test_an_unknown_host_name_is_told(server: Server) -> None:
    with pytest.raises(TransportError, match="no such host name"):
        connect(replace(server.device, host="board.invalid"))


def test_a_connection_cut_in_mid_transfer_can_be_resumed(forward, server: Server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source, sink = file_of(tmp_path, 8_000_000), tmp_path / "there.part"
    _, device = forward(3_000_000)
    with connect(device) as found, pytest.raises(TransportError) as caught:
        found.put(source, str(sink))
    assert caught.value.exit_code == 6
    there = sink.stat().st_size
    assert 0 < there < 8_000_000
    with connect(server.device) as again:
        again.put(source, str(sink), there)
    assert sink.read_bytes() == source.read_bytes()


def test_a_program_cut_off_ends_its_stream(forward) -> None:  # type: ignore[no-untyped-def]
    one, device = forward(None)
    with connect(device) as found:
        process = found.start(["sh", "-c", "echo $$; exec sleep 1000"])
        pid = int(process.readline(20))
        one.cut()
        assert process.readline(20) == b""
        assert process.wait(1) is None
    os.kill(pid, signal.SIGKILL)


def test_a_board_that_falls_silent_ends_the_stream(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_S", 0.1)
    monkeypatch.setattr(connection, "DEAD_AFTER_S", 1)
    with connect(server.device) as found:
        process = found.start(["sh", "-c", "echo $PPID; exec sleep 1000"])
        sshd = int(process.readline(20))
        os.kill(sshd, signal.SIGSTOP)
        try:
            assert process.readline(30) == b""
        finally:
            os.kill(sshd, signal.SIGCONT)


def test_the_ssh_configuration_is_honoured(server: Server, own_home: Path) -> None:
    (own_home / ".ssh" / "config").write_text(
        f"Host board\n  HostName 127.0.0.1\n  IdentityFile {server.folder}/client\nHost *\n  ServerAliveInterval 5\n"
    )
    connect(replace(server.device, host="board", key_file=None)).close()


def test_a_jump_host_is_passed_and_checked_against_known_hosts(server: Server, own_home: Path) -> None:
    (own_home / ".ssh" / "config").write_text(
        f"Host jump\n  HostName 127.0.0.1\n  Port {server.port}\n  IdentityFile {server.folder}/client\n"
        f"Host board\n  HostName 127.0.0.1\n  ProxyJump {server.device.user}@jump\n"
    )
    device = replace(server.device, host="board")
    with pytest.raises(HostKeyError, match="nothing is known"):
        connect(device)
    (own_home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.device.host_key}\n")
    with connect(device) as found:
        assert isinstance(found._client.sock, paramiko.Channel)
        below = found._client.sock.get_transport()
        assert found.start(["echo", "through"]).readline(20) == b"through\n"
    assert not below.is_active()


def test_a_proxy_command_is_run(server: Server, own_home: Path) -> None:
    (own_home / ".ssh" / "config").write_text(
        "Host board\n  HostName 127.0.0.1\n"
        f"  ProxyCommand python3 {Path(__file__).with_name('relay.py')} %h {server.port}\n"
    )
    with connect(replace(server.device, host="board")) as found:
        assert found.start(["echo", "through"]).readline(20) == b"through\n"


def test_closing_a_program_on_a_dead_connection_is_quiet(
    transport: SshTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = transport.start(["cat"])

    def gone(_: object) -> None:
        raise EOFError

    monkeypatch.setattr(paramiko.Channel, "close", gone)
    process.close()
