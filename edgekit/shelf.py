"""The bundles that this host has built."""

from __future__ import annotations

from pathlib import Path

from edgekit import bundle as bundles
from edgekit.errors import BundleError, UsageError
from edgekit.home import Home


def bundle(home: Home, named: str | Path | None, target: str | None) -> Path:
    """The bundle that is meant: a folder, the beginning of a digest, or the newest one built for ``target``."""
    if named is not None and Path(named).is_dir():
        return Path(named)
    found = bundles.find(home.bundles, None if named is not None else target)
    if named is not None:
        fitting = [
            one
            for one in found
            if str(named) in (one.folder.name, one.manifest.name) or one.digest.startswith(str(named))
        ]
        if not fitting:
            raise BundleError(
                "no such bundle",
                given=named,
                allowed=[one.folder.name for one in found] or "none is built",
                remedy="name a bundle's folder or the beginning of its digest",
            )
        return fitting[0].folder
    if not found:
        raise UsageError(
            f"no bundle was built for target {target}",
            remedy=f"edgekit build RECIPE --target {target}; see 'edgekit recipes'",
        )
    return found[0].folder
