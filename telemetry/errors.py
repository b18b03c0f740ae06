"""What is told of an exception: its name, and its traceback without secrets."""

import logging

from opentelemetry.trace import Span

from . import conventions as c
from .redaction import redact_text


def error_type_of(error: BaseException) -> str:
    """Return an exception's qualified class name, without the module for builtins."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def redacted_traceback(error: BaseException) -> str:
    """Return an exception's traceback without secrets."""
    return redact_text(logging.Formatter().formatException((type(error), error, error.__traceback__)))


def record_error(span: Span, error: BaseException) -> None:
    """Add an exception to a span as an event, without secrets."""
    redacted = {c.EXCEPTION_MESSAGE: redact_text(str(error)), c.EXCEPTION_STACKTRACE: redacted_traceback(error)}
    span.record_exception(error, redacted)
