"""One layer around an ASGI application: one span, one observation and one access line for each request, however it ends.

| what happens | status | error.type |
|---|---|---|
| a complete answer below 500 | as sent | none |
| a complete answer of 500 and above | as sent | the exception behind it, else the status |
| an exception before the first byte | 500, sent by this layer | the exception |
| an exception after the first byte | as sent | the exception |
| the client left before the end | as sent, or none | `client_disconnected` |
| the application returned before the end | as sent, or 500, sent by this layer | `incomplete_response` |
| cancelled (the server stops) | as sent, or none | the exception |

The end is the last message of the answer; what the application does afterwards (background tasks) belongs to the same trace
and not to the duration. WebSocket and lifespan scopes and excluded paths pass through untouched.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from typing import Any, Final

from opentelemetry.context import attach, detach
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context

from . import conventions as c
from .access import access_line
from .errors import error_type_of, record_error
from .http import host_and_port, known_methods, problem_of_defect, route_of, with_trace_headers
from .propagation import from_headers, traceresponse, unrecorded_span
from .redaction import redact_query
from .setup import Telemetry

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
ErrorType = Callable[[BaseException], str]

logger = logging.getLogger(__name__)

# Where the request's record is found in its scope; also the sign that a layer further out has taken it.
SCOPE_KEY: Final = "goshop.telemetry.request"
SERVER_ERROR: Final = 500
# What Litestar raises from whatever fails after the first byte; compared by name, so that it need not be there.
_LITESTAR_WRAPPER: Final = "LitestarException"
_LAST_OF: Final = {
    "http.response.body": "more_body",
    "http.response.pathsend": "more_body",
    "http.response.trailers": "more_trailers",
}


class TelemetryMiddleware:
    """Wraps any ASGI application; put it around everything else.

    `exclude` are exact paths without telemetry. `error_type` names an exception for `error.type`; by default its class does.
    """

    def __init__(
        self,
        app: App,
        telemetry: Telemetry,
        *,
        exclude: Collection[str] = ("/health", "/ready", "/metrics"),
        error_type: ErrorType | None = None,
    ) -> None:
        self.app = app
        self.telemetry = telemetry
        self.error_type = error_type or error_type_of
        self.methods = known_methods(os.environ)
        self._exclude = frozenset(exclude)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["path"] in self._exclude or SCOPE_KEY in scope:
            await self.app(scope, receive, send)
            return
        request = RequestRecord(self, scope, receive, send)
        token = attach(request.context)
        try:
            await self.app(scope, request.receive, request.send)
            await request.returned()
        except BaseException as error:
            await request.failed(error)
            raise
        finally:
            request.finish()
            detach(token)


class RequestRecord:
    """A request while it is served: the wrappers of `receive` and `send`, and everything that is told of it at the end."""

    __slots__ = (
        "_layer",
        "_receive",
        "_send",
        "_trailers",
        "abandoned",
        "context",
        "disconnected",
        "ended",
        "error",
        "escaped",
        "finished",
        "known_method",
        "method",
        "path",
        "scope",
        "span",
        "started",
        "started_unix",
        "status",
        "trace",
    )

    def __init__(self, layer: TelemetryMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self.started_unix = time.time_ns()
        self.started = time.perf_counter_ns()
        self._layer = layer
        self._receive = receive
        self._send = send
        self._trailers = self.abandoned = self.disconnected = self.escaped = self.finished = False
        self.ended = self.status = 0
        self.error: BaseException | None = None
        self.scope = scope
        self.method: str = scope["method"]
        self.known_method = self.method if self.method in layer.methods else c.OTHER_METHOD
        # Early: mounts rewrite the path.
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
        self.path = raw_path.partition(b"?")[0].decode("latin-1")
        scope[SCOPE_KEY] = self
        self.span = self._start_span()
        self.trace = self.span.get_span_context()
        layer.telemetry.metrics.http_in_progress[self.known_method].inc()

    def _start_span(self) -> Span:
        telemetry = self._layer.telemetry
        parent, links = from_headers(self.scope["headers"], trusted=telemetry.trust_incoming)
        span = telemetry.tracer.start_span(
            "HTTP" if self.known_method is c.OTHER_METHOD else self.method,
            parent,
            SpanKind.SERVER,
            {
                c.HTTP_REQUEST_METHOD: self.known_method,
                c.URL_PATH: self.path,
                c.URL_SCHEME: self.scope.get("scheme", "http"),
            },
            links,
            self.started_unix,
        )
        if not span.get_span_context().is_valid:
            span = unrecorded_span()
        self.context = set_span_in_context(span, parent)
        return span

    async def receive(self) -> Message:
        """Pass a message on, and notice that the client has left."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.ended:
            self.disconnected = True
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on; the first one gets the trace headers, the last one is the end."""
        kind = message["type"]
        if kind == "http.response.start":
            await self._send(self._start_of_answer(message))
            self.status = message["status"]
            return
        await self._send(message)
        more = _LAST_OF.get(kind)
        if more and not message.get(more, False) and (not self._trailers or kind == "http.response.trailers"):
            self.ended = self.ended or time.perf_counter_ns()
            # An exception may still tell what was behind a 5xx.
            if self.status < SERVER_ERROR:
                self.finish()

    def _start_of_answer(self, message: Message) -> Message:
        self._trailers = bool(message.get("trailers", False))
        headers = with_trace_headers(message.get("headers", ()), traceresponse(self.trace), self.trace_id)
        return {**message, "headers": headers}

    @property
    def trace_id(self) -> str:
        """The trace id in hexadecimal."""
        return f"{self.trace.trace_id:032x}"

    async def failed(self, error: BaseException) -> None:
        """Note the exception that left the application, and answer it."""
        self.error = unwrap(error)
        self.escaped = True
        if self.finished:
            logger.error("an exception after the answer to %s %s", self.method, self.path, exc_info=error)
        elif isinstance(error, Exception):
            await self.returned()

    async def returned(self) -> None:
        """Answer a request that the application left without an answer, before a server does it without the trace."""
        if self.status or self.disconnected:
            return
        self.abandoned = True
        try:
            for message in problem_of_defect(self.trace_id):
                await self.send(message)
        except Exception:
            # The exception that brought us here is the one to raise.
            logger.exception("a failed request could not be answered")

    def finish(self) -> None:
        """Tell of the request; only the first call does anything."""
        if self.finished:
            return
        self.finished = True
        duration = (self.ended or time.perf_counter_ns()) - self.started
        telemetry = self._layer.telemetry
        route = route_of(self.scope)
        error_type = self._error_type()
        self._end_span(route, error_type, duration)
        telemetry.metrics.http_in_progress[self.known_method].dec()
        observed = telemetry.metrics.http_duration[self.known_method, route, str(self.status or "")]
        observed.observe(duration, self.trace_id if self.trace.trace_flags.sampled else "")
        telemetry.output.write(access_line(self, telemetry.service, route, error_type, duration))

    def _error_type(self) -> str:
        """Return what went wrong, "" when nothing did; see the table above."""
        if self.disconnected:
            return c.DISCONNECTED
        if self.ended and self.status < SERVER_ERROR:
            return ""
        if self.error is not None:
            return self._layer.error_type(self.error)
        return str(self.status) if self.ended and not self.abandoned else c.INCOMPLETE

    def _end_span(self, route: str, error_type: str, duration: int) -> None:
        span = self.span
        if span.is_recording():
            method = "HTTP" if self.known_method is c.OTHER_METHOD else self.method
            if route:
                span.update_name(f"{method} {route}")
            span.set_attributes(self._attributes(route, error_type))
            if error_type:
                span.set_status(StatusCode.ERROR)
            if self.error is not None and error_type:
                record_error(span, self.error)
        span.end(self.started_unix + duration)

    def _attributes(self, route: str, error_type: str) -> dict[str, Any]:
        scope = self.scope
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        host, port = host_and_port(headers.get(b"host", b"").decode("latin-1"), scope.get("server"))
        attributes = {
            c.HTTP_ROUTE: route,
            c.HTTP_REQUEST_METHOD_ORIGINAL: self.method if self.known_method is c.OTHER_METHOD else "",
            c.HTTP_RESPONSE_STATUS_CODE: self.status,
            c.URL_QUERY: redact_query(scope.get("query_string", b"").decode("latin-1")),
            c.SERVER_ADDRESS: host,
            c.SERVER_PORT: port,
            c.CLIENT_ADDRESS: peer_of(scope),
            c.NETWORK_PROTOCOL_VERSION: scope.get("http_version", ""),
            c.USER_AGENT_ORIGINAL: headers.get(b"user-agent", b"").decode("latin-1"),
            c.ERROR_TYPE: error_type,
        }
        return {key: value for key, value in attributes.items() if value}


def peer_of(scope: Mapping[str, Any]) -> str:
    """Return the address of who is at the other end of the connection, "" for a Unix socket."""
    client: Iterable[Any] | None = scope.get("client")
    return str(next(iter(client))) if client else ""


def unwrap(error: BaseException) -> BaseException:
    """Return the exception behind groups of one and behind Litestar's wrapper for failures after the first byte."""
    while True:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        elif type(error).__qualname__ == _LITESTAR_WRAPPER and error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


def note_error(scope: Mapping[str, Any], error: BaseException) -> None:
    """Tell the request's record which exception a framework has turned into an answer."""
    record = scope.get(SCOPE_KEY)
    if isinstance(record, RequestRecord) and not isinstance(error, asyncio.CancelledError):
        record.error = unwrap(error)
