"""How long work tells where it stands: a function of a message and the fraction done (``None``: not known)."""

from __future__ import annotations

from typing import Callable, Optional

Report = Callable[[str, Optional[float]], None]


def quiet(message: str, fraction: Optional[float] = None) -> None:
    """Report to nobody."""
