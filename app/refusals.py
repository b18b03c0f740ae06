"""Answers to what never becomes a request: each names a trace id of its own, and so does its log line; a counter has them by reason.

No span goes with them, and no observation: nobody knows the method or the route, and a flood of them must stay cheap.
"""

import logging
from http import HTTPStatus
from typing import Final

import msgspec
from opentelemetry import trace

from app.problems import CONTENT_TYPE, problem
from telemetry import conventions as c
from telemetry import current
from telemetry.http import with_trace_headers
from telemetry.propagation import traceresponse, unrecorded_span

logger = logging.getLogger(__name__)


class Refusal(msgspec.Struct, frozen=True):
    """Why a connection's bytes are not served; `retry_after` seconds later they might be. `reason` is for the counter."""

    status: HTTPStatus
    code: str
    detail: str
    reason: str
    retry_after: int | None = None


MALFORMED: Final = Refusal(
    HTTPStatus.BAD_REQUEST, "invalid_request", "the request is not HTTP/1.1", c.REFUSED_MALFORMED
)
HEAD_TOO_SLOW: Final = Refusal(
    HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "the head did not come in time", c.REFUSED_HEAD_TOO_SLOW
)
# RFC 6585, section 5.
HEAD_TOO_LARGE: Final = Refusal(
    HTTPStatus(431), "too_large", "the request line and headers are too long", c.REFUSED_HEAD_TOO_LARGE
)
CROWDED: Final = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "too many connections", c.REFUSED_CROWDED, 1)


def answer(refusal: Refusal, client: str) -> bytes:
    """Return the whole answer; count it, and tell the log of it."""
    current.metrics().http_refused[refusal.reason,].inc()
    span = unrecorded_span()
    context = span.get_span_context()
    trace_id = f"{context.trace_id:032x}"
    _tell(refusal, span, client)
    body = problem(refusal.status, refusal.code, refusal.detail, trace_id)
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *([(b"retry-after", str(refusal.retry_after).encode())] if refusal.retry_after else []),
    ]
    lines = [b"%s: %s" % (name, value) for name, value in with_trace_headers(headers, traceresponse(context), trace_id)]
    status = f"HTTP/1.1 {refusal.status} {refusal.status.phrase}".encode()
    return b"\r\n".join([status, *lines, b"", body])


def _tell(refusal: Refusal, span: trace.Span, client: str) -> None:
    """Write a line with the keys of an access line; under another name, because no span and no observation goes with it."""
    fields = {c.LOG_METHOD: "", c.LOG_ENDPOINT: "", c.LOG_PATH: "", c.LOG_STATUS_CODE: refusal.status.value}
    with trace.use_span(span):
        logger.warning("%d %s", refusal.status, refusal.detail, extra={**fields, c.LOG_CLIENT: client})
