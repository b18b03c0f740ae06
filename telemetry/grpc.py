"""gRPC by grpc.aio: a span and an observation per call on either side, W3C context in the metadata.

Conventions 1.44: every status but OK is an error on a client; on a server only those that are the server's own fault are.
Health checks pass through without a span, and so do synchronous handlers, which grpc.aio runs in threads of its own.

A handler's uncaught exception is answered with INTERNAL (grpc.aio itself says UNKNOWN, with the exception's text) and logged.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from time import perf_counter_ns
from typing import Any, Final

import grpc
from grpc.aio import (
    ClientCallDetails,
    ClientInterceptor,
    Metadata,
    ServerInterceptor,
    StreamStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    UnaryUnaryClientInterceptor,
)
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import SpanKind

from . import conventions as c
from . import current
from .errors import error_type_of, record_error
from .histogram import Cells
from .operations import FastOperation, Operation, context_with
from .propagation import context_from_metadata, from_metadata, to_metadata
from .recording import Template
from .redaction import redact_text

logger = logging.getLogger(__name__)

HEALTH: Final = "/grpc.health.v1.Health/"
# A client that gives up at its deadline is faster than our own clock is late.
DEADLINE_SLACK: Final = 0.02
_SERVER_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_CLIENT_FAULTS: Final = frozenset(grpc.StatusCode) - {grpc.StatusCode.OK}
_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}

Faults = frozenset[grpc.StatusCode]
Behaviour = Callable[[Any, Any], Any]
Continuation = Callable[[Any, Any], Awaitable[Any]]


def server_interceptors() -> list[ServerInterceptor]:
    """Return what `grpc.aio.server(interceptors=…)` takes; keep them first."""
    return [_Server()]


def client_interceptors() -> list[ClientInterceptor]:
    """Return what a channel takes as `interceptors`; grpc.aio wants one for each kind of call."""
    return [_UnaryUnary(), _UnaryStream(), _StreamUnary(), _StreamStream()]


class _Call:
    """Measures one call on one side."""

    __slots__ = ("_durations", "_faults", "_measured", "_method", "_service", "_start", "context")

    def __init__(
        self, path: str, measured: Operation, context: Context | None, durations: Cells, faults: Faults
    ) -> None:
        self._service, _, self._method = path.removeprefix("/").rpartition("/")
        self._durations = durations
        self._faults = faults
        self._measured = measured
        self.context = context_with(measured, context)
        self._start = perf_counter_ns()

    def end(self, code: grpc.StatusCode, details: str = "", error: BaseException | None = None) -> None:
        status = code.name
        took = perf_counter_ns() - self._start
        self._durations[self._service, self._method, status].observe(took, self._measured.exemplar)
        if code not in self._faults:
            self._measured.conclude({c.RPC_RESPONSE_STATUS_CODE: status})
            return
        if error is not None:
            record_error(self._measured.span, error)
        more = {c.RPC_RESPONSE_STATUS_CODE: status, c.ERROR_TYPE: error_type_of(error) if error else status}
        self._measured.conclude(more, failed=True, description=redact_text(details))


@lru_cache(maxsize=1_000)
def _template(path: str, kind: SpanKind) -> Template:
    """Return what the spans of a method share."""
    name = path.removeprefix("/")
    return Template(name, kind, {c.RPC_SYSTEM_NAME: c.GRPC, c.RPC_METHOD: name})


def _call_from(path: str, metadata: Iterable[tuple[str, str | bytes]]) -> _Call:
    """Begin to measure a call that came in."""
    recorder, template = current.recorder(), _template(path, SpanKind.SERVER)
    if recorder.obstacle:
        context = context_from_metadata(metadata)
        measured = recorder.begin(template, context)
    else:
        parent, context = from_metadata(metadata)
        measured = FastOperation(recorder, parent, template)
    return _Call(path, measured, context, current.metrics().rpc_server_duration, _SERVER_FAULTS)


def _call_to(path: str) -> _Call:
    """Begin to measure a call that goes out."""
    measured = current.recorder().begin(_template(path, SpanKind.CLIENT))
    return _Call(path, measured, None, current.metrics().rpc_client_duration, _CLIENT_FAULTS)


class _Server(ServerInterceptor):
    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(HEALTH):
            return handler
        kind, make_handler = _kind_of(handler)
        wrapped = _wrap(method, getattr(handler, kind))
        return make_handler(wrapped, handler.request_deserializer, handler.response_serializer)


def _kind_of(handler: Any) -> tuple[str, Callable[..., Any]]:
    if handler.request_streaming:
        if handler.response_streaming:
            return "stream_stream", grpc.stream_stream_rpc_method_handler
        return "stream_unary", grpc.stream_unary_rpc_method_handler
    if handler.response_streaming:
        return "unary_stream", grpc.unary_stream_rpc_method_handler
    return "unary_unary", grpc.unary_unary_rpc_method_handler


def _wrap(method: str, behaviour: Behaviour) -> Behaviour:
    if inspect.isasyncgenfunction(behaviour):

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            with _served(method, context) as failures:
                try:
                    async for answer in behaviour(request, context):
                        yield answer
                except Exception as error:  # noqa: BLE001 - abort answers it
                    await failures(error)

        return stream
    if not inspect.iscoroutinefunction(behaviour):
        return behaviour

    async def run(request: Any, context: Any) -> Any:
        with _served(method, context) as failures:
            try:
                return await behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - abort answers it
                await failures(error)

    return run


@contextmanager
def _served(method: str, context: Any) -> Iterator[Callable[[Exception], Awaitable[None]]]:
    """Measure a served call; yields what answers an exception of the handler."""
    call = _call_from(method, context.invocation_metadata() or ())
    defect: Exception | None = None

    async def answer(error: Exception) -> None:
        nonlocal defect
        if not isinstance(error, grpc.aio.AbortError):
            defect = error
            logger.error("%s failed", method, exc_info=error)
            await context.abort(grpc.StatusCode.INTERNAL, "an internal error")
        raise error

    token = attach(call.context)
    cancelled = False
    try:
        yield answer
    except (asyncio.CancelledError, GeneratorExit):
        cancelled = True
        raise
    finally:
        call.end(_why_cancelled(context) if cancelled else _code_of(context), error=defect)
        detach(token)


def _code_of(context: Any) -> grpc.StatusCode:
    """Return the status that the client gets: grpc.aio tells it as a number, 0 until somebody sets one."""
    code = context.code()
    return code if isinstance(code, grpc.StatusCode) else _BY_NUMBER.get(code, grpc.StatusCode.OK)


def _why_cancelled(context: Any) -> grpc.StatusCode:
    left = context.time_remaining()
    over = left is not None and left <= DEADLINE_SLACK
    return grpc.StatusCode.DEADLINE_EXCEEDED if over else grpc.StatusCode.CANCELLED


class _UnaryUnary(UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        return await _called(continuation, client_call_details, request, wait=True)


class _UnaryStream(UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        return await _called(continuation, client_call_details, request, wait=False)


class _StreamUnary(StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Continuation, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await _called(continuation, client_call_details, request_iterator, wait=False)


class _StreamStream(StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Continuation, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await _called(continuation, client_call_details, request_iterator, wait=False)


async def _called(continuation: Continuation, details: Any, request: Any, *, wait: bool) -> Any:
    """Make a call and measure it; a stream is measured until it ends, and returned before."""
    path = details.method.decode() if isinstance(details.method, bytes) else details.method
    if path.startswith(HEALTH):
        return await continuation(details, request)
    measured = _call_to(path)
    try:
        call = await continuation(_with_context(details, measured.context), request)
    except BaseException as error:
        measured.end(grpc.StatusCode.CANCELLED, error=error)
        raise
    if wait:
        await _end(call, measured)
    else:
        call.add_done_callback(lambda _: _keep(asyncio.ensure_future(_end(call, measured))))
    return call


async def _end(call: Any, measured: _Call) -> None:
    try:
        code = await call.code()
        details = "" if code is grpc.StatusCode.OK else await call.details()
    except asyncio.CancelledError:
        # The caller stopped waiting; without this the call would go on without anybody.
        call.cancel()
        measured.end(grpc.StatusCode.CANCELLED)
        raise
    measured.end(code, details or "")


_ending: Final[set[asyncio.Future[None]]] = set()


def _keep(task: "asyncio.Future[None]") -> None:
    """Hold a task until it is done: the event loop itself only holds a weak reference."""
    _ending.add(task)
    task.add_done_callback(_ending.discard)


def _with_context(details: Any, context: Context) -> ClientCallDetails:
    carrier = to_metadata(context)
    kept = ((key, value) for key, value in details.metadata or () if key not in carrier)
    metadata = Metadata(*kept, *carrier.items())
    return ClientCallDetails(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready)
