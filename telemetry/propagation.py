"""Trace context of incoming and outgoing calls: W3C Trace Context and Baggage, or what `OTEL_PROPAGATORS` names.

Sources: https://www.w3.org/TR/trace-context-2/ · https://www.w3.org/TR/baggage/
"""

import logging
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry import baggage, propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .recording import FastSpan, Parent, parent_of

logger = logging.getLogger(__name__)

RawHeaders = Sequence[tuple[bytes, bytes]]
EMPTY: Final = Context()
# What nearly every request says; whatever else there is goes to the official propagators.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_W3C: Final = frozenset({TraceContextTextMapPropagator, W3CBaggagePropagator})
_OTHER_THAN_TRACEPARENT: Final = ("tracestate", "baggage")


class _Textmap:
    """Whether the process's propagator is the usual one; asked anew when it is exchanged."""

    __slots__ = ("usual",)

    def __init__(self) -> None:
        self.usual: TextMapPropagator | None = None

    def is_usual(self) -> bool:
        """Tell whether traceparent, tracestate and baggage are all that there is to read and to write."""
        textmap = propagate.get_global_textmap()
        if textmap is self.usual:
            return True
        # By type: one of somebody's own may read the same headers in another way.
        kinds = {type(part) for part in _parts(textmap)}
        if TraceContextTextMapPropagator in kinds and kinds <= _W3C:
            self.usual = textmap
            return True
        return False


def _parts(textmap: TextMapPropagator) -> Iterable[TextMapPropagator]:
    if type(textmap) is CompositePropagator:
        return textmap._propagators  # noqa: SLF001 - the SDK has no other way to ask
    return (textmap,)


_textmap: Final = _Textmap()


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


def _extract(carrier: Any, getter: Getter[Any]) -> Context:
    """Return the context that a caller sent; a propagator of somebody's own that fails at it has found none."""
    try:
        return propagate.extract(carrier, EMPTY, getter)
    except Exception:
        logger.exception("a propagator cannot read what a caller sent, whose context is lost")
        return EMPTY


def incoming(
    headers: RawHeaders, by_name: Mapping[bytes, bytes], *, trusted: bool
) -> tuple[Parent | None, Context, Sequence[Link]]:
    """Return whom a request continues, the context around it, and the links that it has instead of a parent.

    `by_name` are the same headers as a dictionary. What says no more than a `traceparent` is read here, at a tenth of the
    cost; anything unusual (several parents, another version, tracestate, baggage, other propagators) is `from_headers`'.
    """
    if (
        b"tracestate" not in by_name
        and b"baggage" not in by_name
        and (propagate.get_global_textmap() is _textmap.usual or _textmap.is_usual())
    ):
        value = by_name.get(b"traceparent")
        if value is None:
            return None, EMPTY, ()
        match = _TRACEPARENT.fullmatch(value.decode("latin-1"))
        if match and (len(by_name) == len(headers) or _is_single(b"traceparent", headers)):
            trace_id, span_id, flags = match.groups()
            if trusted:
                return (trace_id, span_id, int(flags, 16), None, True), EMPTY, ()
            sender = SpanContext(
                int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
            )
            return None, EMPTY, (Link(sender),)
    context, links = from_headers(headers, trusted=trusted)
    return parent_of(get_current_span(context).get_span_context()), context, links


def _is_single(name: bytes, headers: RawHeaders) -> bool:
    return sum(header[0] == name for header in headers) == 1


def from_headers(headers: RawHeaders, *, trusted: bool) -> tuple[Context, list[Link]]:
    """Return the context that a request continues, and the links it has instead when its sender is not trusted."""
    context = _extract(headers, _HEADERS)
    if trusted:
        return context, []
    # Neither its sampling decision nor its baggage is believed; the trace id stays findable.
    sender = get_current_span(context).get_span_context()
    return EMPTY, [Link(sender)] if sender.is_valid else []


def context_from_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> Context:
    """Return the context that an RPC continues, its parent in it."""
    return _extract(metadata, _METADATA)


def from_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[Parent | None, Context]:
    """Return whom an RPC continues, and the context around it."""
    pairs = list(metadata)
    found = [value for name, value in pairs if name == "traceparent"]
    if len(found) == 1 and _textmap.is_usual() and not any(name in _OTHER_THAN_TRACEPARENT for name, _ in pairs):
        value = found[0]
        if isinstance(value, str) and (match := _TRACEPARENT.fullmatch(value)):
            trace_id, span_id, flags = match.groups()
            return (trace_id, span_id, int(flags, 16), None, True), EMPTY
    context = context_from_metadata(pairs)
    return parent_of(get_current_span(context).get_span_context()), context


def to_metadata(context: Context) -> dict[str, str]:
    """Return the metadata that carries a context to the next process."""
    span = get_current_span(context)
    if isinstance(span, FastSpan) and _textmap.is_usual() and not span.tracestate and not baggage.get_all(context):
        return {"traceparent": span.traceparent}
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
