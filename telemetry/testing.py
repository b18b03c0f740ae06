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
from prometheus_client import CollectorRegistry

from .logs import LogHandler
from .otlp import Envelope, export_request
from .output import StreamOutput
from .setup import Telemetry, configure
from .spans import SpanRecord, decode
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
    """Collect every sampled span that ends in the block, in that order. The process must be configured.

    They are read back from the bytes that would be exported, so sequences among their attributes are lists.
    """
    provider = trace.get_tracer_provider()
    if not isinstance(provider, Provider):
        raise TypeError("call telemetry.configure first: the spans of another provider are not ours to see")
    spans: list[SpanRecord] = []

    def take(envelope: Envelope, encoded: bytes) -> None:
        spans.extend(decode(export_request({envelope: [encoded]})))

    with provider.outlet.shown_to(take):
        yield spans


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
