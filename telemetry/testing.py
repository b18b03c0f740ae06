"""What an application tests its telemetry with: the spans, log lines and metrics of a block.

with capture_spans() as spans, capture_logs() as lines:
    client.get("/api/products")
assert [span.name for span in spans] == ["GET /api/products"]
"""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from prometheus_client import CollectorRegistry

from .logs import LogHandler
from .output import StreamOutput
from .setup import Telemetry, configure
from .spans import SpanEvent, SpanRecord, service_of
from .tracing import Provider


class LogLines(io.StringIO):
    """A stream for `configure(stream=…)` that gives its lines back as dictionaries."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return every line so far; raises `ValueError` for one that is not JSON."""
        return [json.loads(line) for line in self.getvalue().splitlines()]


def fresh_telemetry(service: str = "test", **options: Any) -> tuple[Telemetry, LogLines]:
    """Configure this process on a registry of its own; returns that and the stream of its log lines."""
    logs = LogLines()
    arguments: dict[str, Any] = {"registry": CollectorRegistry(), "stream": logs, **options}
    return configure(service, **arguments), logs


@contextmanager
def capture_spans() -> Iterator[list[SpanRecord]]:
    """Collect every sampled span that ends in the block, in that order. The process must be configured."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, Provider):
        raise TypeError("call telemetry.configure first: the spans of another provider are not ours to see")
    spans: list[SpanRecord] = []

    def take(span: ReadableSpan) -> None:
        spans.append(record_of(span))

    outlet = provider.outlet
    outlet.sinks = (*outlet.sinks, take)
    try:
        yield spans
    finally:
        outlet.sinks = tuple(sink for sink in outlet.sinks if sink is not take)


@contextmanager
def capture_logs(service: str = "test", level: str = "debug") -> Iterator[list[dict[str, Any]]]:
    """Collect what the standard `logging` module records in the block, as the lines it becomes."""
    stream = _Appending()
    handler = LogHandler(service, StreamOutput(stream))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    try:
        yield stream.collected
    finally:
        root.setLevel(before)
        root.removeHandler(handler)


class _Appending(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.collected: list[dict[str, Any]] = []

    def write(self, text: str) -> int:
        self.collected.append(json.loads(text))
        return len(text)


def record_of(span: ReadableSpan) -> SpanRecord:
    """Return an ended span of the SDK as readers of an export see it."""
    context, parent = span.context, span.parent
    assert context is not None  # noqa: S101 - every span of a tracer has one
    return SpanRecord(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=f"{parent.span_id:016x}" if parent else "",
        service=service_of(span.resource.attributes),
        name=span.name,
        kind=span.kind.name,
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        status=span.status.status_code.name,
        status_message=span.status.description or "",
        attributes=dict(span.attributes or {}),
        events=tuple(SpanEvent(e.name, e.timestamp, dict(e.attributes or {})) for e in span.events),
        links=tuple(f"{link.context.trace_id:032x}" for link in span.links),
    )
