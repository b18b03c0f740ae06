"""gRPC by grpc.aio: a span and an observation per unary call on either side, W3C context in the metadata.

Conventions: every status but OK is an error on a client; on a server only those that are the server's own fault are.
Health checks and streams (which here only watch health) pass through without a span.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final

import grpc
from grpc.aio import ClientCallDetails, Metadata, ServerInterceptor, UnaryUnaryClientInterceptor
from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from . import conventions as c
from . import current
from .metrics import Children

logger = logging.getLogger(__name__)

HEALTH: Final = "/grpc.health.v1.Health/"
_SERVER_FAULTS: Final = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}

Behaviour = Callable[[Any, Any], Awaitable[Any]]


def server_interceptors() -> list[ServerInterceptor]:
    """Return what `grpc.aio.server(interceptors=…)` takes; keep them first."""
    return [_Server()]


def client_interceptors() -> list[UnaryUnaryClientInterceptor]:
    """Return what a channel takes as `interceptors`."""
    return [_Client()]


class _Call:
    """Measures one call on one side."""

    __slots__ = ("_durations", "_faults", "_method", "_service", "_start", "span")

    def __init__(self, path: str, kind: SpanKind, context: Context | None = None) -> None:
        name = path.removeprefix("/")
        self._service, _, self._method = name.partition("/")
        attributes = {c.RPC_SYSTEM_NAME: c.GRPC, c.RPC_METHOD: name}
        self.span: Span = current.tracer().start_span(name, context, kind, attributes)
        server = kind is SpanKind.SERVER
        metrics = current.metrics()
        self._durations: Children[Any] = metrics.rpc_server_duration if server else metrics.rpc_client_duration
        self._faults = _SERVER_FAULTS if server else None
        self._start = perf_counter()

    def end(self, code: grpc.StatusCode, details: str = "") -> None:
        self._durations[self._service, self._method, code.name].observe(perf_counter() - self._start)
        self.span.set_attribute(c.RPC_RESPONSE_STATUS_CODE, code.name)
        is_error = code in self._faults if self._faults is not None else code is not grpc.StatusCode.OK
        if is_error:
            self.span.set_attribute(c.ERROR_TYPE, code.name)
            self.span.set_status(Status(StatusCode.ERROR, details or None))
        self.span.end()


class _Server(ServerInterceptor):
    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or handler.unary_unary is None or method.startswith(HEALTH):
            return handler
        behaviour = _served(method, handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(behaviour, handler.request_deserializer, handler.response_serializer)


def _served(method: str, behaviour: Behaviour) -> Behaviour:
    async def run(request: Any, context: Any) -> Any:
        carrier = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        parent = propagate.extract(carrier, Context())
        call = _Call(method, SpanKind.SERVER, parent)
        token = attach(trace.set_span_in_context(call.span, parent))
        code = grpc.StatusCode.UNKNOWN
        try:
            answer = await behaviour(request, context)
            code = _status(context, grpc.StatusCode.OK)
        except grpc.aio.AbortError:
            code = _status(context, grpc.StatusCode.UNKNOWN)
            raise
        except asyncio.CancelledError:
            code = _why_cancelled(context)
            raise
        except Exception as error:
            code = grpc.StatusCode.INTERNAL
            call.span.record_exception(error)
            logger.exception("%s failed", method)
            await context.abort(code, "an internal error")
        finally:
            call.end(code)
            detach(token)
        return answer

    return run


def _status(context: Any, default: grpc.StatusCode) -> grpc.StatusCode:
    # grpc.aio tells the code as a number once it is set, and None or 0 before.
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return code
    return _BY_NUMBER.get(code, default) if code else default


def _why_cancelled(context: Any) -> grpc.StatusCode:
    left = context.time_remaining()
    over = left is not None and left <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if over else grpc.StatusCode.CANCELLED


class _Client(UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        method = client_call_details.method
        path = method.decode() if isinstance(method, bytes) else method
        if path.startswith(HEALTH):
            return await continuation(client_call_details, request)
        call = _Call(path, SpanKind.CLIENT)
        code, details = grpc.StatusCode.CANCELLED, ""
        try:
            answer = await continuation(_with_context(client_call_details, call.span), request)
            code = await answer.code()
            details = "" if code is grpc.StatusCode.OK else await answer.details()
        except grpc.aio.AioRpcError as error:
            code, details = error.code(), error.details() or ""
            raise
        finally:
            call.end(code, details)
        return answer


def _with_context(details: Any, span: Span) -> ClientCallDetails:
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span))
    metadata = Metadata(*(details.metadata or ()), *carrier.items())
    return ClientCallDetails(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready)
