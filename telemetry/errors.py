"""What is told of an exception: its name, and its traceback without secrets."""

import logging

from opentelemetry.trace import Span

from . import conventions as c
from .redaction import redact_text, without_middle


def error_type_of(error: BaseException) -> str:
    """Return an exception's qualified class name, without the module for builtins."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def redacted_traceback(error: BaseException) -> str:
    """Return an exception's traceback without secrets, and without its middle where it is long."""
    text = logging.Formatter().formatException((type(error), error, error.__traceback__))
    return redact_text(without_middle(text))


def message_of(error: BaseException) -> str:
    """Return what an exception says; some fail at that as well."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever it is, it must not take the place of the first one
        return "<exception str() failed>"


def record_error(span: Span, error: BaseException, stacktrace: str = "") -> None:
    """Add an exception to a span as an event, without secrets; `stacktrace` is its redacted traceback where there is one.

    Not by the span's own `record_exception`: that formats the traceback, and the message, before they can be replaced.
    """
    attributes = {
        c.EXCEPTION_TYPE: error_type_of(error),
        c.EXCEPTION_MESSAGE: redact_text(message_of(error)),
        c.EXCEPTION_STACKTRACE: stacktrace or redacted_traceback(error),
        c.EXCEPTION_ESCAPED: str(False),
    }
    span.add_event(c.EXCEPTION_EVENT, attributes)
