"""Spans that ended, for tests of what happens to them afterwards."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkProvider

from telemetry import conventions as c
from telemetry.exporters import HttpExporter
from telemetry.metrics import SpanCounts
from telemetry.otlp import Envelope, export_request, grouped, span_field
from telemetry.span_queue import Exporter, SpanQueue

Make = Callable[..., tuple[SpanQueue, SpanCounts]]
PATIENCE = 10.0
ROOT = Path(__file__).parents[2]


def ended(name: str = "span", **attributes: Any) -> tuple[Envelope, bytes]:
    provider = SdkProvider(resource=Resource({c.SERVICE_NAME: "goshop-test"}), shutdown_on_exit=False)
    span = provider.get_tracer("test").start_span(name, attributes=attributes)
    span.end()
    assert isinstance(span, ReadableSpan)
    return Envelope(span.resource, span.instrumentation_scope), span_field(span)


def export(exporter: Exporter, *spans: tuple[Envelope, bytes]) -> int:
    return exporter.export(export_request(grouped(spans)), len(spans), 5.0)


def wait(condition: Callable[[], Any]) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, "the condition has not become true"
        time.sleep(0.002)


def over_http(collector: Any, **environ: str) -> HttpExporter:
    return HttpExporter(collector.url, {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in environ.items()})


def balance(queue: SpanQueue, counts: SpanCounts) -> bool:
    with queue._lock:
        return counts.ended == counts.exported + sum(counts.dropped.values()) + queue.queued
