"""Access lines: one per request, encoded directly, with the keys of every other log line."""

from typing import TYPE_CHECKING

from . import conventions as c
from .errors import redacted_traceback
from .logs import json_text, rfc3339

if TYPE_CHECKING:
    from .asgi import RequestRecord


def access_line(request: "RequestRecord", service: str, route: str, error_type: str, duration: int) -> bytes:
    """Encode what is told of a request; `duration` in nanoseconds."""
    trace = request.trace
    client = request.scope.get("client")
    fields = [
        f'"{c.LOG_TIMESTAMP}":"{rfc3339(request.started_unix + duration)}"',
        f'"{c.LOG_LEVEL}":"{_level(error_type)}"',
        f'"{c.LOG_LOGGER}":"{c.ACCESS_LOGGER}"',
        f'"{c.LOG_MESSAGE}":{json_text(f"{request.method} {request.path} {request.status or error_type}")}',
        f'"{c.LOG_SERVICE}":{json_text(service)}',
        f'"{c.LOG_TRACE_ID}":"{request.trace_id}"',
        f'"{c.LOG_SPAN_ID}":"{trace.span_id:016x}"',
        f'"{c.LOG_TRACE_FLAGS}":"{trace.trace_flags:02x}"',
        f'"{c.LOG_METHOD}":{json_text(request.method)}',
        f'"{c.LOG_ENDPOINT}":{json_text(route)}',
        f'"{c.LOG_PATH}":{json_text(request.path)}',
        f'"{c.LOG_STATUS_CODE}":{request.status or "null"}',
        f'"{c.LOG_DURATION_MS}":{duration / 1e6:.3f}',
        f'"{c.LOG_CLIENT}":{json_text(str(client[0]) if client else "")}',
    ]
    if error_type:
        fields.append(f'"{c.LOG_ERROR_TYPE}":{json_text(error_type)}')
    if request.escaped and request.error is not None:
        # Nobody inside has logged it; what an error handler saw is that handler's to log.
        fields.append(f'"{c.LOG_EXCEPTION}":{json_text(redacted_traceback(request.error))}')
    return f"{{{','.join(fields)}}}\n".encode("ascii")


def _level(error_type: str) -> str:
    if not error_type:
        return "info"
    return "warning" if error_type == c.DISCONNECTED else "error"
