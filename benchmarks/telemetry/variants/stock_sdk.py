"""What a skilled hand makes of the stock parts: one pure ASGI layer on the SDK's spans, prometheus_client and msgspec.

Whatever can be had once is: the metric's children are kept, headers are looked up once, `traceparent` is parsed by a regular
expression, lines are written once a tick of the loop. The span, its processor and its exporter are the SDK's own.
"""

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar.plugins.prometheus import PrometheusController
from opentelemetry import context as contexts
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from prometheus_client import Histogram

from benchmarks.telemetry.variants import litestar_items
from benchmarks.telemetry.variants.stock_export import BUCKETS, stock_provider

SERVER_ERROR = 500
_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Line(msgspec.Struct):
    """An access line."""

    timestamp: str
    level: str
    logger: str
    message: str
    service: str
    trace_id: str
    span_id: str
    trace_flags: str
    method: str
    endpoint: str
    path: str
    status_code: int
    duration_ms: float
    client: str


class Lines:
    """Collects lines and writes them once a tick."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._waiting: list[bytes] = []

    def write(self, line: Line) -> None:
        """Take a line."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(self._encode(line) + b"\n")

    def _flush(self) -> None:
        os.write(sys.stdout.fileno(), b"".join(self._waiting))
        self._waiting.clear()


class StockLayer:
    """A span, an observation and a line for each request."""

    def __init__(self, app: Any, provider: TracerProvider) -> None:
        self.app = app
        self.tracer = provider.get_tracer("benchmark")
        self.durations = Histogram(
            "http_request_duration_seconds",
            "Duration of requests in seconds.",
            ["method", "endpoint", "status_code"],
            buckets=BUCKETS,
        )
        self.children: dict[tuple[str, str, int], Any] = {}
        self.lines = Lines()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["path"] == "/metrics":
            await self.app(scope, receive, send)
            return
        start, started = time.time_ns(), time.perf_counter_ns()
        headers = dict(scope["headers"])
        parent = _parent(headers.get(b"traceparent", b""))
        span = self.tracer.start_span(
            scope["method"], parent, SpanKind.SERVER, _attributes(scope, headers), start_time=start
        )
        token = contexts.attach(set_span_in_context(span, parent))
        status = 0

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            self.finish(scope, span, status or SERVER_ERROR, start, time.perf_counter_ns() - started)
            contexts.detach(token)

    def finish(self, scope: Any, span: Any, status: int, start: int, duration: int) -> None:
        """Tell of a request that took `duration` nanoseconds."""
        method, endpoint = scope["method"], scope.get("path_template", "")
        self._child(method, endpoint, status).observe(duration / 1e9)
        span.update_name(f"{method} {endpoint}")
        span.set_attributes({"http.route": endpoint, "http.response.status_code": status})
        if status >= SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        span.end(start + duration)
        self.lines.write(_line(scope, span.get_span_context(), status, start + duration, duration))

    def _child(self, method: str, endpoint: str, status: int) -> Any:
        key = method, endpoint, status
        child = self.children.get(key)
        if child is None:
            child = self.children[key] = self.durations.labels(*map(str, key))
        return child


def _parent(traceparent: bytes) -> contexts.Context:
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return contexts.Context()
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    remote = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return set_span_in_context(NonRecordingSpan(remote), contexts.Context())


def _attributes(scope: Any, headers: dict[bytes, bytes]) -> dict[str, Any]:
    host, _, port = headers[b"host"].decode("latin-1").partition(":")
    attributes = {
        "http.request.method": scope["method"],
        "url.path": scope["path"],
        "url.scheme": scope["scheme"],
        "server.address": host,
        "server.port": int(port or 80),
        "client.address": scope["client"][0],
        "network.protocol.version": scope["http_version"],
        "user_agent.original": headers.get(b"user-agent", b"").decode("latin-1"),
    }
    if query := scope["query_string"]:
        attributes["url.query"] = query.decode("latin-1")
    return attributes


def _line(scope: Any, trace: SpanContext, status: int, end: int, duration: int) -> Line:
    return Line(
        timestamp=datetime.fromtimestamp(end / 1e9, UTC).isoformat(),
        level="error" if status >= SERVER_ERROR else "info",
        logger="access",
        message=f"{scope['method']} {scope['path']} {status}",
        service="bench",
        trace_id=f"{trace.trace_id:032x}",
        span_id=f"{trace.span_id:016x}",
        trace_flags=f"{trace.trace_flags:02x}",
        method=scope["method"],
        endpoint=scope.get("path_template", ""),
        path=scope["path"],
        status_code=status,
        duration_ms=duration / 1e6,
        client=scope["client"][0],
    )


def create() -> Callable[..., Any]:
    """Wrap the Litestar application."""
    provider = stock_provider()
    return StockLayer(litestar_items.create([PrometheusController], on_shutdown=[provider.shutdown]), provider)
