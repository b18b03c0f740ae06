"""Who kept a database's connections while others waited for one.

A statement that waits for a row lock keeps its connection; soon every request of the service waits for the pool, also
those that never touch that row. The waiting is then caused by the statement, not by the pool. So a wait is charged to
the *slow* statements of the same service that ran meanwhile, if on average at least one did; a pool that is exhausted
without them (connections held idle, or leaked) is a place of its own.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

from slo.trace_tree import NANOSECONDS, Place
from telemetry import conventions
from telemetry.spans import SpanRecord

# A statement that keeps its connection this long (s) can starve a pool; an ordinary one takes a few milliseconds.
SLOW_SECONDS: Final = 0.2
# A wait shorter than this (s) is ordinary queueing.
LONG_WAIT_SECONDS: Final = 0.05


class _Running:
    """How many seconds of statements of one place had run by a time: a piecewise linear function."""

    def __init__(self, intervals: Sequence[tuple[int, int]]) -> None:
        changes = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
        self._times = [time for time, _ in changes]
        self._active = list(accumulate(change for _, change in changes))
        steps = zip(self._times, self._times[1:], self._active, strict=False)
        self._areas = [0, *accumulate((later - time) * active for time, later, active in steps)]

    def between(self, begin: int, end: int) -> int:
        """Return the sum of ns that statements ran in [begin, end]."""
        return self._until(end) - self._until(begin)

    def _until(self, time: int) -> int:
        index = bisect.bisect_right(self._times, time) - 1
        return 0 if index < 0 else self._areas[index] + (time - self._times[index]) * self._active[index]


class Holders:
    """The slow statements of a run, by service."""

    def __init__(self, spans: Mapping[str, Sequence[SpanRecord]]) -> None:
        found: dict[Place, list[tuple[int, int]]] = defaultdict(list)
        for of_trace in spans.values():
            for span in of_trace:
                if _is_slow_statement(span):
                    found[_place(span)].append((span.start_ns, span.end_ns))
        self._running: dict[str, dict[Place, _Running]] = defaultdict(dict)
        for place, intervals in found.items():
            self._running[place.service][place] = _Running(intervals)

    def blame(self, wait: SpanRecord, seconds: float) -> Iterable[tuple[Place, float]]:
        """Yield the places that a wait for a connection is charged to, with their parts of its seconds."""
        own = Place(wait.service, wait.name)
        length = wait.end_ns - wait.start_ns
        if length * NANOSECONDS < LONG_WAIT_SECONDS:
            return [(own, seconds)]
        candidates = self._running.get(wait.service, {})
        held = {place: running.between(wait.start_ns, wait.end_ns) for place, running in candidates.items()}
        whole = sum(held.values())
        if whole < length:
            return [(own, seconds)]
        return [(place, seconds * part / whole) for place, part in held.items() if part]


def _is_slow_statement(span: SpanRecord) -> bool:
    slow = (span.end_ns - span.start_ns) * NANOSECONDS >= SLOW_SECONDS
    return slow and conventions.DB_QUERY_SUMMARY in span.attributes


def _place(span: SpanRecord) -> Place:
    return Place(span.service, span.name, str(span.attributes.get(conventions.DB_COLLECTION_NAME, "")))
