"""Trace context of incoming and outgoing calls: W3C Trace Context and Baggage, or what `OTEL_PROPAGATORS` names.

Sources: https://www.w3.org/TR/trace-context-2/ · https://www.w3.org/TR/baggage/
"""

import random
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags, get_current_span

RawHeaders = Sequence[tuple[bytes, bytes]]
EMPTY: Final = Context()


class HeaderGetter(Getter[RawHeaders]):
    """Reads ASGI headers; fields that occur several times are all returned (RFC 9110, section 5.3)."""

    def get(self, carrier: RawHeaders, key: str) -> list[str] | None:
        """Return every value of a header, None when there is none."""
        name = key.encode("latin-1")
        values = [value.decode("latin-1") for header, value in carrier if header == name]
        # Two parents are no parent (W3C Trace Context, section 3.2: it is not a list).
        return None if not values or (key == "traceparent" and len(values) > 1) else values

    def keys(self, carrier: RawHeaders) -> list[str]:
        """Return the names."""
        return [name.decode("latin-1") for name, _ in carrier]


class MetadataGetter(Getter[Iterable[tuple[str, str | bytes]]]):
    """Reads gRPC metadata."""

    def get(self, carrier: Iterable[tuple[str, str | bytes]], key: str) -> list[str] | None:
        """Return every value of a key, None when there is none."""
        values = [value for name, value in carrier if name == key and isinstance(value, str)]
        return None if not values or (key == "traceparent" and len(values) > 1) else values

    def keys(self, carrier: Iterable[tuple[str, str | bytes]]) -> list[str]:
        """Return the names."""
        return [name for name, _ in carrier]


_HEADERS: Final = HeaderGetter()
_METADATA: Final = MetadataGetter()


def from_headers(headers: RawHeaders, *, trusted: bool) -> tuple[Context, list[Link]]:
    """Return the context that a request continues, and the links it has instead when its sender is not trusted."""
    context = propagate.extract(headers, EMPTY, _HEADERS)
    if trusted:
        return context, []
    # Neither its sampling decision nor its baggage is believed; the trace id stays findable.
    sender = get_current_span(context).get_span_context()
    return EMPTY, [Link(sender)] if sender.is_valid else []


def from_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> Context:
    """Return the context that an RPC continues."""
    return propagate.extract(metadata, EMPTY, _METADATA)


def to_metadata(context: Context) -> dict[str, str]:
    """Return the metadata that carries a context to the next process."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    return carrier


def unrecorded_span() -> NonRecordingSpan:
    """Return a span with ids of its own and without recording: a request is never without a trace id."""
    trace_id, span_id = random.getrandbits(128) or 1, random.getrandbits(64) or 1
    return NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags.get_default()))


def traceresponse(context: SpanContext) -> str:
    """Return a context as the `traceresponse` header says it (W3C Trace Context 2, working draft)."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
