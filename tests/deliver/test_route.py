"""Addresses, and what the SSH configuration makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.deliver import route
from edgekit.deliver.route import Address
from edgekit.errors import UsageError
from edgekit.spec.device import Device, Emulated


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("board", Address("board")),
        ("pi@board", Address("board", "pi")),
        ("pi@10.0.0.7:2222", Address("10.0.0.7", "pi", 2222)),
        ("board.local:22", Address("board.local", None, 22)),
        ("pi@[fe80::1%eth0]:2222", Address("fe80::1%eth0", "pi", 2222)),
        ("[::1]", Address("::1")),
        ("pi@fe80::1", Address("fe80::1", "pi")),
        ("me@corp@board", Address("board", "me@corp")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert route.parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "pi@",
        "@board",
        "board:",
        "board:0",
        "board:65536",
        "board:x",
        "[::1",
        "[::1]22",
        "-oProxy",
        "a b",
        "a/b",
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        route.parse_address(text)
    assert caught.value.exit_code == 2


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    try:
        found = route.parse_address(text)
    except UsageError:
        return
    assert found.host
    assert not found.host.startswith("-")
    assert found.port is None or 1 <= found.port <= 65535


CONFIG = """
Host board
  HostName 10.0.0.7
  User me
  Port 2222
  IdentityFile {key}
  IdentityFile /no/such/file
Host far
  ProxyJump me@gate:2200,second
Host odd
  ProxyCommand nc -X 5 %h %p
Host bad
  Port http
Host *
  User everybody
"""


@pytest.fixture
def config(tmp_path: Path):  # type: ignore[no-untyped-def]
    (tmp_path / "key").write_text("a key")
    (tmp_path / "config").write_text(CONFIG.format(key=tmp_path / "key"))
    return route.read_config(tmp_path / "config")


def test_the_configuration_fills_in_what_was_not_typed(config, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    found = route.resolve(Address("board"), config)
    assert (found.host, found.port, found.user) == ("10.0.0.7", 2222, "me")
    assert found.key_files == (tmp_path / "key",)
    typed = route.resolve(Address("board", "you", 22), config)
    assert (typed.host, typed.port, typed.user) == ("10.0.0.7", 22, "you")


def test_proxies(config) -> None:  # type: ignore[no-untyped-def]
    assert route.resolve(Address("far"), config).jumps == (Address("gate", "me", 2200), Address("second"))
    assert route.resolve(Address("odd"), config).command == "nc -X 5 odd 22"


def test_an_emulated_board_is_reached_directly(config) -> None:  # type: ignore[no-untyped-def]
    device = Device("far", "rpi4", "far", 2022, "pi", key_file="/k", emulated=Emulated("/x", 1))
    found = route.to_device(device, config)
    assert (found.host, found.port, found.user, found.jumps, found.key_files) == ("far", 2022, "pi", (), (Path("/k"),))


def test_a_bad_entry_and_a_bad_file_are_told(config, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="no such port"):
        route.resolve(Address("bad"), config)
    (tmp_path / "broken").write_text("Host\n  What is this\n")
    with pytest.raises(UsageError, match="cannot read"):
        route.read_config(tmp_path / "broken")
    assert route.resolve(Address("h", "u"), route.read_config(tmp_path / "none")).host == "h"
