"""What an application tests its telemetry with: the spans and the log lines of a block."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from .setup import Telemetry, configure


class CapturedSpans(InMemorySpanExporter):
    """The spans that ended, in that order."""

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans with this name."""
        return [span for span in self.get_finished_spans() if span.name == name]


@contextmanager
def capture_spans(telemetry: Telemetry) -> Iterator[CapturedSpans]:
    """Collect every span that ends in the block."""
    captured = CapturedSpans()
    processor = SimpleSpanProcessor(captured)
    telemetry.provider.add_span_processor(processor)
    try:
        yield captured
    finally:
        processor.shutdown()


class CapturedLogs(io.BytesIO):
    """A stream for `configure(stream=…)` that gives its lines back as dictionaries."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return every line so far."""
        return [json.loads(line) for line in self.getvalue().splitlines()]


def fresh_telemetry(service: str = "test", **options: Any) -> tuple[Telemetry, CapturedLogs]:
    """Configure telemetry on a registry of its own; returns it and the stream of its log lines."""
    logs = CapturedLogs()
    return configure(service, registry=CollectorRegistry(), stream=logs, **options), logs
