"""Tokens → text, as they come: whole characters only, and nothing of a stop word."""

from __future__ import annotations

from typing import Callable, List, Sequence, Tuple

#: What a decoder writes for bytes that are no character, as those of one that is not yet complete: once for them all,
#: or once for each.
_BROKEN = "\ufffd"


class Speller:
    """Writes a text token by token; ``decode`` spells any run of them.

    A token may be a part of a character, and how it is written may depend on the one before it. So a run is spelled
    again with each token until its end is whole, and the next run begins with the tokens of that piece.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        #: Its first ``before`` tokens belong to the last piece.
        self._run: List[int] = []
        self._before = 0
        self._told = 0

    def add(self, token: int) -> str:
        """The characters that are whole with it; often one word, sometimes none."""
        self._run.append(token)
        text = self._decode(self._run)
        whole = text.rstrip(_BROKEN)
        found = whole[self._told :]
        self._told = max(self._told, len(whole))
        if whole == text:
            del self._run[: self._before]
            self._before = len(self._run)
            self._told = len(self._decode(self._run))
        return found


class Stops:
    """Lets a text pass up to the first of ``words``, which may come in pieces. What may be the beginning of one is held
    back until it is known."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._held = ""

    def add(self, text: str) -> Tuple[str, bool]:
        """What may be told now, and whether a stop word came."""
        held = self._held + text
        found = [at for at in (held.find(one) for one in self._words) if at >= 0]
        if found:
            self._held = ""
            return held[: min(found)], True
        longest = max((len(one) for one in self._words), default=1) - 1
        for count in range(min(longest, len(held)), 0, -1):
            if any(one.startswith(held[-count:]) for one in self._words):
                self._held = held[-count:]
                return held[:-count], False
        self._held = ""
        return held, False

    def end(self) -> str:
        """What was held back, when no more comes."""
        held, self._held = self._held, ""
        return held
