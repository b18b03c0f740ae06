"""Reconciliation: the client's, the spans', the log's and the counter's view of the same requests, compared by trace id.

Four witnesses see every request: k6's sample, the gateway's server span, its access line and its request counter. In an
undisturbed run all agree. Each disturbance leaves its own mark, and is given the class that the mark proves:

==================  ============================================================================================
never_reached       no answer at the client, no trace of it at the server: refused, or killed on its way
interrupted         the server answered, k6 was cut short and has no sample; at most one for each cut iteration
retried             the server saw a trace id more often than the client: Go's HTTP client sends a GET, or a POST
                    with an Idempotency-Key, again when a reused connection closes early, and reports one sample
dropped             the access line is there and the span is not, within what the exporter counted as dropped
lost_with_process   records of requests that were in flight, or not yet written, when the gateway was killed
unexplained         everything else: a forged or a missing record. One of these and the run is not a measurement
==================  ============================================================================================

Sets would hide a request that was handled twice, so all comparisons are of multisets.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from slo.sample import Sample, is_unanswered
from slo.verdict import Reconciliation

# A killed process takes along what it has not written: a batch of spans is at most 1 s old, its export takes a moment.
LOST_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """What each side saw. `server_*` and `access_lines` are None when the server is not ours.

    `unanswered`, `resendable` and `endangered` are trace ids among the samples: without an answer; of a method that Go's
    client may send again; in flight or just ended when the gateway was killed. `dropped_spans` is the gateway's count
    of spans it could not export, `interrupted` the number of iterations that k6 cut short.
    """

    k6: Counter[str]
    unanswered: Counter[str] = field(default_factory=Counter)
    resendable: frozenset[str] = frozenset()
    endangered: frozenset[str] = frozenset()
    server_spans: Counter[str] | None
    access_lines: Counter[str] | None
    server_metrics: int | None
    dropped_spans: int = 0
    interrupted: int = 0
    gateway_killed: bool = False


def endangered_ids(samples: Iterable[Sample], kills: Iterable[float]) -> frozenset[str]:
    """Return the trace ids of requests that were in flight, or just ended, at one of these times (unix s)."""
    times = tuple(kills)
    return frozenset(
        sample.trace_id
        for sample in samples
        if any(sample.start <= kill <= sample.start + sample.duration + LOST_SECONDS for kill in times)
    )


def unanswered_ids(samples: Iterable[Sample]) -> Counter[str]:
    """Return how often each trace id went without an answer."""
    return Counter(sample.trace_id for sample in samples if is_unanswered(sample))


def reconcile(witnesses: Witnesses) -> Reconciliation:
    """Compare the witnesses and put a class on every difference."""
    if witnesses.server_spans is None or witnesses.access_lines is None:
        return Reconciliation(k6=witnesses.k6.total())
    return _Ledger(witnesses, witnesses.server_spans, witnesses.access_lines).settle()


class _Ledger:
    """Goes through the trace ids once and books every difference."""

    def __init__(self, witnesses: Witnesses, spans: Counter[str], lines: Counter[str]) -> None:
        self._seen = witnesses
        self._spans = spans
        self._lines = lines
        self._booked: Counter[str] = Counter()
        self._droppable = witnesses.dropped_spans
        self._interruptible = witnesses.interrupted

    def settle(self) -> Reconciliation:
        handled = 0
        for trace_id in self._seen.k6.keys() | self._spans.keys() | self._lines.keys():
            handled += self._request(trace_id)
        self._counter(handled)
        booked = self._booked
        return Reconciliation(
            k6=self._seen.k6.total(),
            server_metrics=self._seen.server_metrics,
            server_spans=self._spans.total(),
            access_lines=self._lines.total(),
            never_reached=booked["never_reached"],
            interrupted=booked["interrupted"],
            retried=booked["retried"],
            dropped=booked["dropped"],
            lost_with_process=booked["lost_with_process"],
            unexplained=booked["unexplained"],
            agree=not booked["unexplained"],
        )

    def _request(self, trace_id: str) -> int:
        """Book one trace id's differences; returns how often the server handled it, as far as it is on record."""
        sent, spans, lines = self._seen.k6[trace_id], self._spans[trace_id], self._lines[trace_id]
        handled = max(spans, lines)
        if handled > sent:
            self._surplus(trace_id, handled - sent, known=sent > 0)
        elif handled < sent:
            self._deficit(trace_id, sent - handled)
        self._missing_spans(trace_id, handled - spans)
        self._missing_lines(trace_id, handled - lines)
        return handled

    def _surplus(self, trace_id: str, count: int, *, known: bool) -> None:
        """Book what the server saw more often than the client."""
        if known:
            self._book("retried" if trace_id in self._seen.resendable else "unexplained", count)
            return
        explained = min(count, self._interruptible)
        self._interruptible -= explained
        self._book("interrupted", explained)
        self._book("unexplained", count - explained)

    def _deficit(self, trace_id: str, count: int) -> None:
        """Book what the client saw more often than the server."""
        if trace_id in self._seen.endangered:
            self._book("lost_with_process", count)
            return
        unanswered = min(count, self._seen.unanswered[trace_id])
        self._book("never_reached", unanswered)
        self._book("unexplained", count - unanswered)

    def _missing_spans(self, trace_id: str, count: int) -> None:
        """Book access lines without a span. What a killed process took, its counter can't tell."""
        if trace_id in self._seen.endangered:
            self._book("lost_with_process", count)
            return
        dropped = min(count, self._droppable)
        self._droppable -= dropped
        self._book("dropped", dropped)
        self._book("unexplained", count - dropped)

    def _missing_lines(self, trace_id: str, count: int) -> None:
        """Book spans without an access line: lines are written at once, only a kill loses them."""
        self._book("lost_with_process" if trace_id in self._seen.endangered else "unexplained", count)

    def _counter(self, handled: int) -> None:
        """Compare the counter, which knows no trace ids, with what is on record. A killed process loses its count."""
        counted = self._seen.server_metrics
        if counted is None:
            return
        if counted < handled and self._seen.gateway_killed:
            self._book("lost_with_process", handled - counted)
        else:
            self._book("unexplained", abs(counted - handled))

    def _book(self, kind: str, count: int) -> None:
        self._booked[kind] += count
