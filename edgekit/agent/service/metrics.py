"""What the service counts, in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Iterator, List, Sequence, Tuple

#: Upper bounds of the latency histogram, in seconds.
BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Name, type, help, and the value for each set of labels.
Metric = Tuple[str, str, str, Sequence[Tuple[str, float]]]


class Counts:
    """Requests by path and status, and how long those took that were answered by the model. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: "Counter[Tuple[str, int]]" = Counter()
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    @property
    def requests(self) -> int:
        with self._lock:
            return sum(self._requests.values())

    def count(self, path: str, status: int) -> None:
        """``path`` is one of the routes, or ``other``: clients must not make up labels."""
        with self._lock:
            self._requests[path, status] += 1

    def took(self, seconds: float) -> None:
        place = next((n for n, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))
        with self._lock:
            self._buckets[place] += 1
            self._sum += seconds

    def metrics(self) -> List[Metric]:
        with self._lock:
            requests, buckets, total = sorted(self._requests.items()), list(self._buckets), self._sum
        by_code = [('{{path="{}",code="{}"}}'.format(path, code), count) for (path, code), count in requests]
        return [
            ("edgekit_requests_total", "counter", "Requests by path and status.", by_code),
            (
                "edgekit_predict_seconds",
                "histogram",
                "From a request's last byte to its answer.",
                _rising(buckets, total),
            ),
        ]


def _rising(buckets: Sequence[int], total: float) -> List[Tuple[str, float]]:
    values: List[Tuple[str, float]] = []
    count = 0
    for bound, found in zip([*map(str, BOUNDS), "+Inf"], buckets):
        count += found
        values.append(('_bucket{{le="{}"}}'.format(bound), count))
    return [*values, ("_sum", total), ("_count", count)]


def render(metrics: Sequence[Metric]) -> str:
    return "\n".join(_lines(metrics)) + "\n"


def _lines(metrics: Sequence[Metric]) -> Iterator[str]:
    for name, kind, help_text, values in metrics:
        yield "# HELP {} {}".format(name, help_text)
        yield "# TYPE {} {}".format(name, kind)
        for labels, value in values:
            yield "{}{} {}".format(name, labels, repr(value))


def label(text: str) -> str:
    """A label's value with what would end it escaped."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
