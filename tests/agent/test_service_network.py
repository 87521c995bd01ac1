"""The service on a port: who may ask there, and whom nobody there can disturb."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from running_agents import PACKAGE
from service_kit import OLD_MODEL as OLD
from service_kit import Serving, deploy, free_port, refused

pytest.importorskip("tokenizers", reason="needs the 'host' extra")
pytest.importorskip("numpy")


def over_tcp(port: int, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    return response.status, response.read()


def test_beyond_this_machine_a_token_is_needed_and_asked(root: Path, tmp_path: Path) -> None:
    deploy(root, OLD)
    code, said = refused(root, "--listen=0.0.0.0:0")
    assert (code, "needs a token" in said) == (2, True)
    code, said = refused(root, "--listen=8080")
    assert (code, "not an address" in said) == (2, True)
    token = tmp_path / "token"
    token.write_text("abcdefghijklmnopqrstuvwxyz\n")
    token.chmod(0o644)
    code, said = refused(root, "--listen=0.0.0.0:0", f"--token-file={token}")
    assert (code, "others may read the token" in said, "abcdef" in said) == (2, True, False)
    token.chmod(0o600)
    port = free_port()
    with Serving(root, f"--listen=127.0.0.1:{port}", f"--token-file={token}") as serving:
        assert over_tcp(port, "GET", "/health")[0] == 401
        assert over_tcp(port, "GET", "/health", {"Authorization": "Bearer wrong"})[0] == 401
        assert over_tcp(port, "GET", "/health", {"Authorization": "Basic abcdefghijklmnopqrstuvwxyz"})[0] == 401
        assert over_tcp(port, "GET", "/health", {"Authorization": "Bearer abcdefghijklmnopqrstuvwxyz"})[0] == 200
        # the page tells nothing of the device, and asks for the token itself
        assert over_tcp(port, "GET", "/")[0] == 200
        # who may open the socket needs none
        assert serving.ask("chess")[0] == 200
        code, said = refused(tmp_path, f"--listen=127.0.0.1:{port}")
    assert "abcdef" not in (root / "log.jsonl").read_text()


def test_a_foreign_name_for_this_machine_is_not_answered(root: Path) -> None:
    """Another site's page whose name leads to 127.0.0.1 (DNS rebinding)."""
    deploy(root, OLD)
    port = free_port()
    with Serving(root, f"--listen=127.0.0.1:{port}"):
        assert over_tcp(port, "GET", "/health")[0] == 200
        assert over_tcp(port, "GET", "/health", {"Host": f"localhost:{port}"})[0] == 200
        assert over_tcp(port, "GET", "/health", {"Host": f"evil.example:{port}"})[0] == 403
        taken = subprocess.run(
            [sys.executable, "-m", "edgekit.agent", "--root", str(root), "serve", f"--listen=127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        )
        assert taken.returncode == 5


def test_nobody_in_the_network_keeps_the_sockets_own_user_out(root: Path) -> None:
    deploy(root, OLD)
    port = free_port()
    with Serving(root, f"--listen=127.0.0.1:{port}", "--connections=4") as serving:
        held = [socket.create_connection(("127.0.0.1", port), 60) for _ in range(3)]
        for one in held:
            one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert one.recv(1 << 16).startswith(b"HTTP/1.1 200")
        with socket.create_connection(("127.0.0.1", port), 60) as more:
            assert b"HTTP/1.1 503" in more.recv(1 << 16)
        assert serving.ask("chess")[0] == 200
        for one in held:
            one.close()
