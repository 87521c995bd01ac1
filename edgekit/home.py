"""Where edgekit keeps what outlives one command: ``$EDGEKIT_HOME``, or the user's data folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folders below ``root``; those edgekit writes to are made when they are first asked for."""

    root: Path

    @staticmethod
    def default() -> Home:
        """``$EDGEKIT_HOME`` where it is set, else the platform's place for user data."""
        named = os.environ.get("EDGEKIT_HOME")
        if named:
            return Home(Path(named).expanduser().resolve())
        import platformdirs

        return Home(Path(platformdirs.user_data_dir("edgekit")))

    def _made(self, name: str, mode: int = 0o755) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
        return folder

    @property
    def cache(self) -> Path:
        """Stages, wheels and board images: it can be deleted and comes back, but the disks
        of emulated boards stand on its images: remove those boards first."""
        return self._made("cache")

    @property
    def bundles(self) -> Path:
        """Finished bundles, one folder each."""
        return self._made("bundles")

    @property
    def devices(self) -> Path:
        """The registered devices, one JSON file each."""
        return self._made("devices")

    @property
    def boards(self) -> Path:
        """Disks, logs and monitor sockets of emulated boards."""
        return self._made("boards")

    @property
    def history(self) -> Path:
        """Benchmark results, never overwritten."""
        return self._made("history")

    @property
    def tunings(self) -> Path:
        """How each kind of board runs an artifact best, one JSON file each."""
        return self._made("tunings")

    @property
    def recipes(self) -> Path:
        """Recipes of one's own, known by their names."""
        return self.root / "recipes"

    @property
    def targets(self) -> Path:
        """Targets of one's own, known by their names."""
        return self.root / "targets"

    @property
    def keys(self) -> Path:
        """The signing key and whom this host trusts."""
        return self._made("keys", 0o700)

    @property
    def served(self) -> Path:
        """Bundles that this host serves, one folder each, laid out as a device's. It can be deleted."""
        return self._made("served")

    @property
    def searches(self) -> Path:
        """Searches, one folder each: every trial is kept, and a search goes on from them."""
        return self._made("searches")
