"""One trace as a tree: who called whom, how long each span worked itself, and where a failure came from."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from telemetry import conventions
from telemetry.spans import SpanRecord

NANOSECONDS: Final = 1e-9
ERROR: Final = "ERROR"
_CLIENT: Final = "CLIENT"
_SERVER: Final = "SERVER"
# The caller gave up waiting: what failed is what took the time, not what was told to stop.
_RAN_OUT: Final = frozenset({"DEADLINE_EXCEEDED", "CANCELLED"})
_GATEWAY_TIMEOUT: Final = 504
# A child that took less of its parent's time than this is not what the parent waited for.
_MOST: Final = 0.5


class Place(NamedTuple):
    """Where time goes or a failure arises; `table` is "" where no table is involved."""

    service: str
    span: str
    table: str = ""


class TraceTree:
    """The spans of one trace, each id once: an exporter that was not answered sends a batch again.

    A span whose parent is not among them, or is itself, is a root; what is reached from the roots is therefore a tree.
    """

    __slots__ = ("_children", "roots", "spans")

    def __init__(self, spans: Sequence[SpanRecord]) -> None:
        by_id = {span.span_id: span for span in reversed(spans)}
        self.spans: Sequence[SpanRecord] = list(reversed(by_id.values()))
        self._children: dict[str, list[SpanRecord]] = defaultdict(list)
        for span in self.spans:
            known = span.parent_id in by_id and span.parent_id != span.span_id
            self._children[span.parent_id if known else ""].append(span)
        self.roots: Sequence[SpanRecord] = self._children.pop("", [])

    def children(self, span: SpanRecord) -> Sequence[SpanRecord]:
        """Return the spans directly below."""
        return self._children.get(span.span_id, ())

    def place(self, span: SpanRecord) -> Place:
        """Return where a span stands. A call that never got to the peer's handler is the peer's."""
        if is_call(span) and self.handler(span) is None:
            method = str(span.attributes[conventions.RPC_METHOD])
            return Place(method.partition(".")[0], method)
        return Place(span.service, span.name, str(span.attributes.get(conventions.DB_COLLECTION_NAME, "")))

    def handler(self, call: SpanRecord) -> SpanRecord | None:
        """Return the peer's span of a call, if there is one."""
        return next((child for child in self.children(call) if child.kind == _SERVER), None)

    def self_times(self) -> Iterator[tuple[SpanRecord, float]]:
        """Yield each span with the seconds that it worked itself: its duration without the union of its children."""
        for span in self.spans:
            covered = _union(span, self.children(span))
            yield span, (span.end_ns - span.start_ns - covered) * NANOSECONDS

    def failures(self) -> Iterator[Place]:
        """Yield the places of all failing spans."""
        return (self.place(span) for span in self.spans if span.status == ERROR)

    def origin(self, *, unanswered: bool = False, tolerated: Collection[Place] = ()) -> SpanRecord | None:
        """Return the span where a failed request's failure came from: follow what failed first, down to the deepest span.

        `tolerated` places fail just as often in good requests and are passed by. Where a deadline ended the wait, or
        the client gave up (`unanswered`), the span that took most of the time is followed instead. None without spans.
        """
        if not self.roots:
            return None
        span, waited = min(self.roots, key=lambda root: root.start_ns), unanswered
        while (below := self._below(span, tolerated, waited=waited or _ran_out(span))) is not None:
            waited = waited or _ran_out(span)
            span = below
        return span

    def _below(self, span: SpanRecord, tolerated: Collection[Place], *, waited: bool) -> SpanRecord | None:
        if is_call(span):
            return self.handler(span)
        failed = [child for child in self.children(span) if child.status == ERROR]
        failed = [child for child in failed if self.place(child) not in tolerated]
        # Calls in parallel are cancelled when one of them fails: those are not the origin.
        failed = [child for child in failed if not _cancelled(child)] or failed
        if failed:
            return min(failed, key=lambda child: child.end_ns)
        return self._longest(span) if waited else None

    def _longest(self, span: SpanRecord) -> SpanRecord | None:
        longest = max(self.children(span), key=_duration, default=None)
        return longest if longest and _duration(longest) >= _MOST * _duration(span) else None


def is_call(span: SpanRecord) -> bool:
    """Tell whether a span is the caller's side of an RPC."""
    return span.kind == _CLIENT and conventions.RPC_METHOD in span.attributes


def is_entry(span: SpanRecord, service: str) -> bool:
    """Tell whether a span is the HTTP server's side of a request in this service."""
    return span.kind == _SERVER and span.service == service and conventions.HTTP_REQUEST_METHOD in span.attributes


def _duration(span: SpanRecord) -> int:
    return span.end_ns - span.start_ns


def _union(span: SpanRecord, children: Sequence[SpanRecord]) -> int:
    """Return how many ns of a span its children cover, overlaps once, what runs beyond it not at all."""
    covered, reached = 0, span.start_ns
    for child in sorted(children, key=lambda child: child.start_ns):
        begin, end = max(child.start_ns, reached), min(child.end_ns, span.end_ns)
        covered += max(0, end - begin)
        reached = max(reached, end)
    return covered


def _ran_out(span: SpanRecord) -> bool:
    attributes = span.attributes
    return (
        attributes.get(conventions.RPC_RESPONSE_STATUS_CODE) in _RAN_OUT
        or attributes.get(conventions.HTTP_RESPONSE_STATUS_CODE) == _GATEWAY_TIMEOUT
        or attributes.get(conventions.ERROR_TYPE) == conventions.DISCONNECTED
    )


def _cancelled(span: SpanRecord) -> bool:
    return span.attributes.get(conventions.RPC_RESPONSE_STATUS_CODE) == "CANCELLED"
