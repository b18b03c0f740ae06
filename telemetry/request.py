"""A request while it is served: its span, the wrappers of `receive` and `send`, and its timing, in one object."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, set_span_in_context

from . import conventions as c
from . import otlp
from .access import access_line
from .errors import error_type_of, record_error
from .http import problem_of_defect, route_of, upgraded, with_list_of_headers, with_trace_headers
from .propagation import from_headers, incoming, unrecorded_span
from .recording import CURRENT_SPAN, SAMPLED, SPAN_FIELDS, FastSpan, is_undecided, said
from .redaction import Paths, redact_query
from .shapes import SERVER_ERROR, STANDARD, Peer, Shape

if TYPE_CHECKING:
    from .asgi import TelemetryMiddleware

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger(__name__)

# Lower ones (103 Early Hints) come before the answer (RFC 9110, section 15.2).
FINAL: Final = 200
# What stands in a path as it is, besides letters, digits and "-._~" (RFC 3986, section 3.3).
_IN_PATHS: Final = "/:@!$&'()*+,;="
# What Litestar raises from whatever fails after the first byte; compared by name, so that it need not be there.
_LITESTAR_WRAPPER: Final = "LitestarException"
_paths: Final = Paths()
_url_path: Final = otlp.TextAttribute(otlp.SPAN_ATTRIBUTE, c.URL_PATH)
_url_query: Final = otlp.TextAttribute(otlp.SPAN_ATTRIBUTE, c.URL_QUERY)
_LAST_OF: Final = {
    "http.response.body": "more_body",
    "http.response.pathsend": "more_body",
    "http.response.zerocopysend": "more_body",
    "http.response.trailers": "more_trailers",
}


async def _to_nobody(_message: Message) -> None:
    """Send nothing: the request is over."""


class RequestRecord(FastSpan):
    """A request that is its own span; where its fields are kept, `SlottedRequest` and `telemetry.compiled` say.

    Times are monotonic nanoseconds, `started_unix` unix nanoseconds; `last_sent` is 0 until the last message of the answer.
    """

    __slots__ = ()

    # Of the types of messages that answer it.
    prefix: ClassVar = ""
    # What serves a request of this class in place of the layer, where that is compiled: takes layer, scope, receive and send,
    # and returns what to await, or None for what is the layer's after all.
    serve: ClassVar[Callable[..., Awaitable[None] | None] | None] = None

    def __init__(self, layer: "TelemetryMiddleware", scope: Scope, receive: Receive, send: Send) -> None:
        self.started_unix = time.time_ns()
        self.started = time.perf_counter_ns()
        self._layer = layer
        self._receive = receive
        self._send = send
        self._trailers = self.abandoned = self.disconnected = self.escaped = self.finished = False
        self.last_sent = self.status = 0
        self.error: BaseException | None = None
        self.stacktrace = ""
        self.scope = scope
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        method: str = scope["method"] if "method" in scope else upgraded(scope)[0]
        self.method = method
        self.known_method = method if method in layer.methods else c.OTHER_METHOD
        # Early: mounts rewrite the path.
        self.path = _paths[scope.get("raw_path") or raw_path_of(scope)]
        layer.in_progress[self.known_method].inc()

    def start_span(self) -> Context:
        """Begin the span; returns the context that the application runs in.

        Not kept here: the context holds the span, and only the garbage collector would part them.
        """
        layer = self._layer
        try:
            parent, context, links = incoming(self.scope["headers"], self.headers, trusted=layer.trust_incoming)
            around = Context({**context, CURRENT_SPAN: self})
        except Exception:
            # A propagator of somebody's own; the request is not to blame.
            logger.exception("the trace context of %s %s cannot be read", self.method, self.path)
            parent, links, around = None, (), Context({CURRENT_SPAN: self})
        self.begin(layer.recorder, parent)
        if links:
            self.add_links(links)
        return around

    async def receive(self) -> Message:
        """Pass a message on, and notice that the client has left."""
        message = await self._receive()
        if message.get("type") == "http.disconnect" and not self.last_sent:
            self.disconnected = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on; the first one gets the trace headers, the last one is the end."""
        kind = message.get("type", "")
        if kind == "http.response.start":
            return self._start_answer(message)
        more = _LAST_OF.get(kind)
        if more is None or message.get(more, False) or (self._trailers and kind != "http.response.trailers"):
            return self._send(message)
        return self._end_answer(message)

    @staticmethod
    async def gone() -> Message:
        """Return what there is to receive when the request is over."""
        return {"type": "http.disconnect"}

    async def _start_answer(self, message: Message) -> None:
        try:
            if type(message.get("headers")) is not list:
                message = with_list_of_headers(message)
            headers = with_trace_headers(message["headers"], self.traceparent, self.trace_id)
        except (AttributeError, LookupError, TypeError):
            # None as ASGI has them: the server is the one to say so.
            await self._send(message)
        else:
            await self._send({**message, "headers": headers})
        # Only now: what the server refuses (an invalid header, a second start) has reached nobody; nor has what a client that
        # has left is sent, a framework's 500 for half a body for instance.
        status = message.get("status")
        if not self.status and not self.disconnected and isinstance(status, int) and status >= FINAL:
            self.status = int(status)
            self._trailers = bool(message.get("trailers", False))

    async def _end_answer(self, message: Message) -> None:
        await self._send(message)
        if not self.status:
            return
        self.last_sent = self.last_sent or time.perf_counter_ns()
        # An exception may still tell what was behind a 5xx.
        if self.status < SERVER_ERROR:
            self.finish()

    async def failed(self, error: BaseException) -> None:
        """Note the exception that left the application, and answer it."""
        self.error = unwrap(error)
        self.escaped = True
        if isinstance(error, asyncio.CancelledError) and self.finished:
            # A server that stops cancels what goes on in the background; nothing is wrong with it.
            logger.debug("cancelled after the answer to %s %s", self.method, self.path)
        elif self.finished:
            logger.error("an exception after the answer to %s %s", self.method, self.path, exc_info=error)
        elif isinstance(error, Exception) and not self.status:
            await self.answer_defect()

    async def answer_defect(self) -> None:
        """Answer a request that the application left without an answer, before a server does it without the trace."""
        if self.disconnected:
            return
        self.abandoned = True
        try:
            for message in problem_of_defect(self.trace_id, self.prefix):
                await self.send(message)
        except Exception:
            # The exception that brought us here is the one to raise.
            logger.exception("a failed request could not be answered")

    def finish(self) -> None:
        """Tell of the request; only the first call does anything."""
        if self.finished:
            return
        self.finished = True
        duration = (self.last_sent or time.perf_counter_ns()) - self.started
        layer, scope, method, status = self._layer, self.scope, self.method, self.status
        layer.in_progress[self.known_method].dec()
        try:
            route = scope.get("path_template") or route_of(scope)
            error_type = (
                "" if self.last_sent and status < SERVER_ERROR and not self.disconnected else self._error_type()
            )
            shape = layer.shapes.get((method, route, status, error_type))
            if shape is None:
                shape = layer.shapes.make(self.known_method, method, route, status, error_type)
            peer = layer.peers.of(scope, self.headers)
            shape.cell.observe(duration, self.trace_id if self.flags & SAMPLED else "")
            layer.write(access_line(self, shape, peer, duration))
            self.end_span(shape, peer, duration)
        except Exception:
            # What telemetry is given to call (a processor, say) may be wrong; the request is not.
            logger.exception("not everything could be told of %s %s", method, self.path)

    def let_go(self) -> None:
        """Hold nothing of the request any longer: a task that goes on has this span in its context, for hours perhaps.

        What it sends or receives from now on it does to nobody, as after a disconnect.
        """
        self.scope, self.headers = {}, {}
        self.error, self.stacktrace = None, ""
        self._receive, self._send = self.gone, _to_nobody

    def end_span(self, shape: Shape, peer: Peer, duration: int) -> None:
        """Encode the span and hand it over."""
        recorder = self.recorder
        take = recorder.outlet.take
        if not self.flags & SAMPLED or take is None:
            self.ended = True
            return
        if self.error is not None and shape.failed:
            record_error(self, self.error, self.stacktrace)
        self.ended = True
        start = self.started_unix
        times = otlp.TIMES.pack(otlp.START, start, otlp.END, start + duration)
        query = self.query() if self.scope.get("query_string") else ""
        if self._notes is not None and not self._only_adds():
            own = {c.URL_PATH: self.path, **({c.URL_QUERY: query} if query else {}), **peer.attributes}
            standard = {key: value for key, value in own.items() if key not in self._notes.attributes}
            self.emit(shape.template, times, standard, failed=shape.failed)
            return
        body = shape.template.failed_body if shape.failed else shape.template.body
        encoded = self.head() + times + body + peer.body + _url_path(self.path)
        if query:
            encoded += _url_query(query)
        if self._notes is not None:
            encoded += otlp.attributes(self._notes.attributes) + said(self._notes)
        take(recorder.envelope, otlp.SPAN_HEADS[len(encoded)] + encoded)

    def _only_adds(self) -> bool:
        """Tell whether what was noted stands beside what the layer says, and takes the place of none of it."""
        notes = self._notes
        if notes is None:
            return True
        noted, most = notes.attributes, self.recorder.limits.max_span_attributes
        room = most is None or len(noted) + len(STANDARD) <= most
        return room and not notes.name and notes.status is None and STANDARD.isdisjoint(noted)

    def _error_type(self) -> str:
        """Return what went wrong, "" when nothing did; see the table in `telemetry.asgi`."""
        if self.disconnected:
            return c.DISCONNECTED
        if self.last_sent and self.status < SERVER_ERROR:
            return ""
        if self.error is not None:
            return self._name_of(self.error)
        return str(self.status) if self.last_sent and not self.abandoned else c.INCOMPLETE

    def _name_of(self, error: BaseException) -> str:
        """Return what the application calls an exception; its class's name where the application has none for it."""
        try:
            return self._layer.error_type(error) or error_type_of(error)
        except Exception:
            logger.exception("an exception cannot be named")
            return error_type_of(error)

    def query(self) -> str:
        """Return the query without secrets."""
        query: bytes = self.scope.get("query_string", b"")
        return redact_query(query.decode("latin-1")) if query else ""


class SlottedRequest(RequestRecord):
    """A request with its fields in slots."""

    __slots__ = (
        *SPAN_FIELDS,
        *("_layer", "_receive", "_send", "_trailers", "abandoned", "disconnected", "error", "escaped"),
        *("finished", "headers", "known_method", "last_sent", "method", "path", "scope", "started", "started_unix"),
        *("stacktrace", "status"),
    )


class SdkRequest(SlottedRequest):
    """A request whose span is one of the tracer that is there; its own ids are that span's."""

    __slots__ = ("_span",)

    def start_span(self) -> Context:
        """Begin the span; see `RequestRecord`."""
        try:
            parent, links = from_headers(self.scope["headers"], trusted=self._layer.trust_incoming)
            parent = Context(parent)
        except Exception:
            # As on the other path.
            logger.exception("the trace context of %s %s cannot be read", self.method, self.path)
            parent, links = Context(), []
        span = self._span = self._start_span(parent, links)
        ids = span.get_span_context()
        self.trace_id, self.span_id, self.flags = f"{ids.trace_id:032x}", f"{ids.span_id:016x}", int(ids.trace_flags)
        return set_span_in_context(span, parent)

    def _start_span(self, parent: Context, links: Sequence[Link]) -> Span:
        begun = {
            c.HTTP_REQUEST_METHOD: self.known_method,
            c.URL_PATH: self.path,
            c.URL_SCHEME: self.scope.get("scheme") or "http",
        }
        tracer = self._layer.recorder.tracer
        try:
            span = tracer.start_span(self._first_name(), parent, SpanKind.SERVER, begun, links, self.started_unix)
        except Exception:
            # A processor or a sampler of somebody's own; the request is not to blame.
            logger.exception("no span can be made for %s %s", self.method, self.path)
            return unrecorded_span()
        return span if span.get_span_context().is_valid else unrecorded_span()

    def _first_name(self) -> str:
        return "HTTP" if self.known_method is c.OTHER_METHOD else self.method

    def end_span(self, shape: Shape, peer: Peer, duration: int) -> None:
        """Tell the span everything, and end it."""
        span = self._span
        if span.is_recording():
            if getattr(span, "name", "") == self._first_name():
                span.update_name(shape.template.name)
            span.set_attributes(
                self._unsaid({**shape.template.attributes, **peer.attributes, c.URL_QUERY: self.query()})
            )
            if shape.failed:
                if is_undecided(span):
                    span.set_status(StatusCode.ERROR)
                if self.error is not None:
                    record_error(span, self.error, self.stacktrace)
        span.end(self.started_unix + duration)

    def _unsaid(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out what somebody has set: they know better.

        The scheme was set by us when the request came, before a proxy's word for it was read.
        """
        there = getattr(self._span, "attributes", None) or {}
        return {key: value for key, value in attributes.items() if value and (key not in there or key == c.URL_SCHEME)}


def raw_path_of(scope: Scope) -> bytes:
    """Return a request's path as it came, or as it must have come where the server does not say."""
    return quote(scope["path"], _IN_PATHS, errors="replace").encode()


def unwrap(error: BaseException) -> BaseException:
    """Return the exception behind groups of one and behind Litestar's wrapper for failures after the first byte."""
    while True:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        elif type(error).__qualname__ == _LITESTAR_WRAPPER and error.__cause__ is not None:
            error = error.__cause__
        else:
            return error
