"""Log lines: one JSON object per event, with the trace that it belongs to.

Records of the standard `logging` module go through python-json-logger; the access lines of `telemetry.asgi` are encoded
directly. Both are ASCII: every control character, newline and odd separator is an escape, so no text can forge a line.
"""

import logging
import sys
import time
from datetime import UTC, datetime
from json import dumps
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from opentelemetry import trace
from pythonjsonlogger.core import RESERVED_ATTRS, BaseJsonFormatter

from . import conventions as c
from .errors import error_type_of
from .output import Output
from .redaction import LONGEST_TEXT, redact_value, shortened, without_middle

_OURS: Final = frozenset(
    {c.LOG_TIMESTAMP, c.LOG_LEVEL, c.LOG_LOGGER, c.LOG_MESSAGE, c.LOG_SERVICE}
    | {c.LOG_TRACE_ID, c.LOG_SPAN_ID, c.LOG_TRACE_FLAGS}
)


def rfc3339(nanoseconds: int) -> str:
    """Return a unix time as RFC 3339 in UTC with microseconds."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1_000:06d}Z"


def json_text(text: str) -> str:
    """Return a string as JSON in ASCII; what is no Unicode (a lone surrogate) becomes U+FFFD."""
    if len(text) > LONGEST_TEXT:
        text = shortened(text)
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    # DEL is the only control character that JSON in ASCII leaves as it is.
    return encode_basestring_ascii(text).replace("\x7f", "\\u007f")


class LogFormatter(BaseJsonFormatter):
    """Formats records with the contract's keys, the current trace, and without secrets."""

    def __init__(self, service: str) -> None:
        # uvicorn adds its message a second time, with colours.
        super().__init__(reserved_attrs=[*RESERVED_ATTRS, "color_message"])
        self._service = service

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Fill in a record's keys."""
        log_data[c.LOG_TIMESTAMP] = _timestamp(record.created)
        log_data[c.LOG_LEVEL] = record.levelname.lower()
        log_data[c.LOG_LOGGER] = record.name
        log_data[c.LOG_MESSAGE] = record.getMessage() if not isinstance(record.msg, dict) else ""
        log_data[c.LOG_SERVICE] = self._service
        log_data.update(trace_fields())
        extra: dict[str, Any] = {}
        super().add_fields(extra, record, {k: v for k, v in message_dict.items() if k != "exc_info"})
        # An extra that is called like a key of ours must not say something else than we do.
        log_data.update({f"{k}_" if k in _OURS else k: v for k, v in extra.items() if k != c.LOG_MESSAGE})
        if record.exc_info and record.exc_info[1] is not None:
            log_data[c.LOG_ERROR_TYPE] = error_type_of(record.exc_info[1])
            text = message_dict.get("exc_info") or self.formatException(record.exc_info)
            log_data[c.LOG_EXCEPTION] = without_middle(text) if isinstance(text, str) else text

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Take secrets out."""
        return {key: value if key in _UNTOUCHED else redact_value(str(key), value) for key, value in log_data.items()}

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Encode a record."""
        return f"{{{','.join(f'{json_text(str(k))}:{_json(v)}' for k, v in log_data.items())}}}"


_UNTOUCHED: Final = _OURS - {c.LOG_MESSAGE}


def _json(value: Any) -> str:
    if isinstance(value, str):
        return json_text(value)
    return dumps(value, default=str).replace("\x7f", "\\u007f")


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def trace_fields() -> dict[str, str]:
    """Return the log keys of the current trace, none outside of one."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {
        c.LOG_TRACE_ID: f"{context.trace_id:032x}",
        c.LOG_SPAN_ID: f"{context.span_id:016x}",
        c.LOG_TRACE_FLAGS: f"{context.trace_flags:02x}",
    }


class LogHandler(logging.Handler):
    """Sends records of the standard `logging` module to the same output as access lines."""

    def __init__(self, service: str, output: Output) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(LogFormatter(service))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; of one that cannot be formatted (its arguments do not fit), what can be said."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a log call must never fail its caller, and never vanish
            line = self.format(_unformattable(record, error))
        self._output.write(line.encode("ascii") + b"\n")


def _unformattable(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    # Not the repr of whatever it is: that may fail as well.
    what = repr(record.msg) if isinstance(record.msg, str) else f"a {type(record.msg).__name__}"
    message = f"{what} cannot be formatted: {error_type_of(error)}"
    return logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno, message, (), None)


def lost_line(service: str) -> Any:
    """Make the function that says how many lines were lost."""

    def line(lines: int) -> bytes:
        stamp = rfc3339(time.time_ns())
        fields = {c.LOG_TIMESTAMP: stamp, c.LOG_LEVEL: "error", c.LOG_LOGGER: __name__, c.LOG_SERVICE: service}
        return dumps(fields | {c.LOG_MESSAGE: f"{lines} log lines were lost"}).encode() + b"\n"

    return line


def install(handler: LogHandler, level: str) -> None:
    """Make this the only way out for records to the standard streams; other handlers stay."""
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, LogHandler) or _writes_to_standard_streams(old):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    take_over_uvicorn()


def take_over_uvicorn() -> None:
    """Let uvicorn's own lines go the way of all others; it sets its loggers up each time it is configured."""
    for name in ("uvicorn", "uvicorn.error"):
        _hand_over(name, propagate=True)
    # The access lines of this layer have all of it, and the trace.
    _hand_over("uvicorn.access", propagate=False)


def _hand_over(name: str, *, propagate: bool) -> None:
    logger = logging.getLogger(name)
    logger.handlers.clear()
    logger.propagate = propagate


def _writes_to_standard_streams(handler: logging.Handler) -> bool:
    return type(handler) is logging.StreamHandler and handler.stream in (sys.stdout, sys.stderr)
