"""Answers given before, kept as the bytes that are sent."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import List, Optional, Sequence, Tuple

#: A text and how many labels were asked for.
Key = Tuple[str, int]
#: What an entry takes besides text and answer: two objects, a tuple, a place in the table; measured with CPython 3.11.
OVERHEAD = 320


class Answers:
    """The least recently used go first when ``limit`` bytes are exceeded; 0 keeps none. For several threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.hits = 0
        self.misses = 0
        self._lock = threading.Lock()
        self._kept: "OrderedDict[Key, bytes]" = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Optional[bytes]:
        """The answer, now the most recently used; ``None`` where there is none."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._kept.move_to_end(key)
            return found

    def all(self, keys: Sequence[Key]) -> Optional[List[bytes]]:
        """The answers where every one is there, which counts as hits; else ``None``, which counts as nothing."""
        with self._lock:
            if any(key not in self._kept for key in keys):
                return None
            for key in keys:
                self._kept.move_to_end(key)
            self.hits += len(keys)
            return [self._kept[key] for key in keys]

    def put(self, key: Key, answer: bytes) -> None:
        """Keep it, unless it alone is too large."""
        size = _size(key, answer)
        if size > self.limit:
            return
        with self._lock:
            before = self._kept.pop(key, None)
            if before is not None:
                self.size -= _size(key, before)
            self._kept[key] = answer
            self.size += size
            while self.size > self.limit:
                oldest, dropped = self._kept.popitem(last=False)
                self.size -= _size(oldest, dropped)

    def clear(self) -> None:
        """Forget the answers, not the counts."""
        with self._lock:
            self._kept.clear()
            self.size = 0


def _size(key: Key, answer: bytes) -> int:
    # a text takes 1, 2 or 4 bytes a character; 4 bounds it
    return len(answer) + 4 * len(key[0]) + OVERHEAD
