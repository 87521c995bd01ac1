"""The way to a server as ``~/.ssh/config`` describes it: real host name, user, port, keys, proxy."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from pathlib import Path

import paramiko
import paramiko.config

from edgekit.errors import UsageError
from edgekit.spec.device import Device

_NO_PROXY = ("none", "")


@dataclass(frozen=True)
class Address:
    """What a user types: ``[user@]host[:port]``; ``None`` where nothing was said."""

    host: str
    user: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class Route:
    """``jumps`` are the servers to pass through, first one first; ``command`` a ProxyCommand in their place."""

    host: str
    port: int
    user: str
    key_files: tuple[Path, ...] = ()
    jumps: tuple[Address, ...] = ()
    command: str | None = None

    @property
    def text(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}"


def parse_address(text: str) -> Address:
    """``host``, ``user@host``, ``user@host:port``, ``[::1]:22``, ``user@fe80::1``. Raises UsageError."""
    user, at, rest = text.strip().rpartition("@")
    if at and not user:
        raise _bad_address(text)
    port: str | None = None
    if rest.startswith("["):
        host, bracket, after = rest[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise _bad_address(text)
        port = after[1:] if after else None
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    else:
        host = rest
    # a leading dash would be read as an option by a ProxyCommand
    if not host or host.startswith("-") or any(letter.isspace() or letter in "/@" for letter in host):
        raise _bad_address(text)
    if port is not None and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise _bad_address(text)
    return Address(host, user or None, int(port) if port else None)


def _bad_address(text: str) -> UsageError:
    return UsageError("not an address", given=text, allowed="[user@]host[:port], IPv6 in brackets")


def read_config(file: Path | None = None) -> paramiko.SSHConfig:
    """``~/.ssh/config``, or another file; empty where there is none. Raises UsageError where it cannot be read."""
    file = Path.home() / ".ssh" / "config" if file is None else file
    try:
        return paramiko.SSHConfig.from_path(str(file))
    except FileNotFoundError:
        return paramiko.SSHConfig()
    except (OSError, UnicodeDecodeError, paramiko.config.ConfigParseError) as error:
        raise UsageError(f"cannot read the SSH configuration: {error}", where=str(file)) from error


def resolve(address: Address, config: paramiko.SSHConfig, user: str | None = None) -> Route:
    """Join an address with the configuration: what was typed wins, then the configuration, then ``user`` (or who runs
    this). Raises UsageError on a bad entry."""
    try:
        found = config.lookup(address.host)
    except (paramiko.SSHException, ImportError, KeyError) as error:
        raise UsageError(f"cannot apply the SSH configuration: {error}", where=f"Host {address.host}") from error
    port = str(address.port or found.get("port", "22"))
    if not port.isdigit() or not 1 <= int(port) <= 65535:
        raise UsageError("no such port in the SSH configuration", given=port, where=f"Host {address.host}")
    jumps = found.get("proxyjump", "none")
    command = found.get("proxycommand", "none")
    identities: list[str] | str = found.get("identityfile", [])
    names = [identities] if isinstance(identities, str) else identities
    files = [Path(one).expanduser() for one in names]
    return Route(
        host=found.get("hostname", address.host),
        port=int(port),
        user=address.user or found.get("user") or user or getpass.getuser(),
        key_files=tuple(file for file in files if file.is_file()),
        jumps=() if jumps.lower() in _NO_PROXY else tuple(parse_address(one) for one in jumps.split(",")),
        command=None if command.lower() in _NO_PROXY else command,
    )


def to_device(device: Device, config: paramiko.SSHConfig) -> Route:
    """The way to a registered device. An emulated one is reached directly, whatever the configuration says."""
    key_files = (Path(device.key_file).expanduser(),) if device.key_file else ()
    if device.emulated is not None:
        return Route(device.host, device.port, device.user, key_files)
    route = resolve(Address(device.host, device.user, device.port), config)
    return Route(route.host, route.port, route.user, key_files or route.key_files, route.jumps, route.command)
