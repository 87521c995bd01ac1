"""Delivery: from a bundle on the host to a healthy release on a device, over SSH.

``connect`` opens the transport; ``client.Agent`` talks to the agent over it; ``plan`` decides, ``apply`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.deliver.ssh import SshTransport
    from edgekit.spec.device import Device


def connect(device: Device) -> SshTransport:
    """Open the SSH connection to a device; see :func:`edgekit.deliver.ssh.connect`."""
    # paramiko takes a moment to import
    from edgekit.deliver import ssh

    return ssh.connect(device)
