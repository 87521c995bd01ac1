"""An authenticated SSH connection: proxy, key exchange, host key, login. Passwords are not asked for: keys only."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import paramiko

from edgekit.deliver import hostkeys
from edgekit.deliver.route import Address, Route, read_config, resolve
from edgekit.errors import EdgekitError, TransportError

CONNECT_S = 20.0
# a small or emulated board needs many seconds to fork an sshd and to compute the key exchange
BANNER_S = 60.0
KEEPALIVE_S = 15
# the kernel gives up on bytes nobody acknowledged for so long; without it a pulled cable hangs for a quarter hour
DEAD_AFTER_S = 60
#: AES-GCM authenticates on the way: no separate MAC. paramiko would ask for it last.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
_HOME_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@contextlib.contextmanager
def translated(address: str) -> Iterator[None]:
    """Turn every network and paramiko error inside into a TransportError that names the address and a remedy."""
    try:
        yield
    except EdgekitError:
        raise
    except paramiko.AuthenticationException as error:
        raise TransportError(f"the login was refused: {error}", where=address, remedy=_LOGIN_REMEDY) from error
    except socket.gaierror as error:
        raise TransportError(
            "no such host name", where=address, given=address, remedy="check the address, or use the IP number"
        ) from error
    except TimeoutError as error:
        raise TransportError(
            "no answer in time", where=address, remedy="check that the device is on, in this network and not overloaded"
        ) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise TransportError(
            f"the connection failed: {str(error) or type(error).__name__}",
            where=address,
            remedy="check that the device is on and that sshd runs there; then start again, what arrived is kept",
        ) from error


_LOGIN_REMEDY = (
    "put your public key on the device (ssh-copy-id user@host), name the right user, or load the key: ssh-add FILE"
)


def open_route(
    route: Route, expected: Sequence[str], *, pinned: bool, own_key_only: bool = False
) -> paramiko.Transport:
    """Connect, check the host key against the ``expected`` lines, log in.

    Raises HostKeyError for another key, TransportError for everything else that fails.
    """
    transport = handshake(route, expected)
    try:
        with translated(route.text):
            hostkeys.check(transport.get_remote_server_key(), expected, route.text, pinned=pinned)
            _log_in(transport, route, own_key_only)
            threading.Thread(target=_watch, args=(transport,), name="keepalive", daemon=True).start()
    except BaseException:
        close(transport)
        raise
    return transport


def _watch(transport: paramiko.Transport) -> None:
    """Ask the server for a sign of life now and then, and close the connection where none comes.

    TCP alone does not tell: a proxy, or an emulated network, keeps its end open when the board behind it is gone.
    """
    while transport.is_active():
        time.sleep(KEEPALIVE_S)
        alarm = threading.Timer(DEAD_AFTER_S, transport.close)
        alarm.daemon = True
        alarm.start()
        try:
            transport.global_request("keepalive@openssh.com", wait=True)
        except (paramiko.SSHException, OSError, EOFError):
            return
        finally:
            alarm.cancel()


def close(transport: paramiko.Transport) -> None:
    """Close a connection and the jump hosts' it passes through."""
    below = transport.sock
    transport.close()
    if isinstance(below, paramiko.Channel):
        close(below.get_transport())


def handshake(route: Route, expected: Sequence[str] = ()) -> paramiko.Transport:
    """The key exchange alone: nothing is checked and nobody is logged in yet."""
    with translated(route.text):
        raw = _socket(route)
        transport = paramiko.Transport(raw)
        transport.banner_timeout = BANNER_S
        transport.handshake_timeout = BANNER_S
        transport.auth_timeout = BANNER_S
        transport.channel_timeout = BANNER_S
        options = transport.get_security_options()
        options.ciphers = tuple(name for name in CIPHERS if name in options.ciphers)
        options.key_types = hostkeys.algorithms(expected, tuple(options.key_types))
        try:
            transport.start_client(timeout=BANNER_S)
        except BaseException:
            close(transport)
            raise
    return transport


def host_key_of(route: Route) -> str:
    """The key a server shows, as ``type base64``, for the caller to confirm. Raises TransportError."""
    transport = handshake(route)
    try:
        return hostkeys.line(transport.get_remote_server_key())
    finally:
        close(transport)


def _socket(route: Route) -> Any:
    if route.command is not None:
        return paramiko.ProxyCommand(route.command)
    if route.jumps:
        return _through(route.jumps, (route.host, route.port))
    plain = socket.create_connection((route.host, route.port), timeout=CONNECT_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_S * 1000)
    return plain


def _through(jumps: Sequence[Address], to: tuple[str, int]) -> paramiko.Channel:
    """A tunnel through the last jump host, which is reached through those before it."""
    last = jumps[-1]
    found = resolve(last, read_config())
    route = Route(found.host, found.port, found.user, found.key_files, tuple(jumps[:-1]) or found.jumps, found.command)
    # known_hosts goes by the name that was typed or by the one it stands for
    expected = hostkeys.known(route.host, route.port) + hostkeys.known(last.host, route.port)
    client = open_route(route, expected, pinned=False)
    with translated(f"{to[0]}:{to[1]} through {route.text}"):
        try:
            return client.open_channel("direct-tcpip", to, ("127.0.0.1", 0), timeout=BANNER_S)
        except BaseException:
            close(client)
            raise


def _log_in(transport: paramiko.Transport, route: Route, own_key_only: bool) -> None:
    """Offer the route's own keys, then ssh-agent's, then those in ``~/.ssh``. Only their kinds enter a message."""
    tried: list[str] = []
    for source, key in _keys(route, own_key_only, tried):
        try:
            transport.auth_publickey(route.user, key)
            return
        except paramiko.AuthenticationException:
            tried.append(f"{key.get_name()} {source}")
    raise TransportError(
        "the login was refused",
        where=route.text,
        given=", ".join(tried) or "no key at all: ssh-agent and ~/.ssh hold none",
        remedy=_LOGIN_REMEDY,
    )


def _keys(route: Route, own_key_only: bool, tried: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    for file in route.key_files:
        yield from _read_key(file, tried)
    if own_key_only:
        return
    agent = paramiko.Agent()
    try:
        for one in agent.get_keys():
            yield "of ssh-agent", one
    finally:
        agent.close()
    for name in _HOME_KEYS:
        file = Path.home() / ".ssh" / name
        if file.is_file() and file not in route.key_files:
            yield from _read_key(file, tried)


def _read_key(file: Path, tried: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    try:
        yield str(file), paramiko.PKey.from_path(file)
    except (TypeError, paramiko.PasswordRequiredException):
        tried.append(f"{file} (encrypted: ssh-add it)")
    except OSError as error:
        tried.append(f"{file} ({error.strerror})")
    except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
        tried.append(f"{file} (not a private key)")
