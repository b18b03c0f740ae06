"""OTLP trace protobuf, written by hand: a span costs a few microseconds instead of 33, and no protobuf runtime is loaded.

`span_field` encodes a span of the SDK; the small functions above it are its parts, for who makes spans from cached bytes:

    body = head(trace_id, span_id, parent_id) + name("GET /") + kind(SpanKind.SERVER) + times(start, end) + attributes(…)
    request = export_request({envelope: [span(body + status(StatusCode.UNSET))]})

Says what the official encoder says, with one difference: bits 0-7 of a span's flags carry its W3C trace flags, as the
protocol wants it. Fields may come in any order, so every part is complete in itself (tag, length, content).
Source: https://github.com/open-telemetry/opentelemetry-proto/blob/v1.9.0/opentelemetry/proto/trace/v1/trace.proto,
https://protobuf.dev/programming-guides/encoding/
"""
# ruff: noqa: SLF001 - the SDK's public properties copy and lock: 5 µs of the 10 that a span would cost

import logging
import struct
from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceState

from .protobuf import (
    CACHED,
    LONGEST_CACHED,
    Attributes,
    Numbers,
    TextAttribute,
    attribute,
    count,
    length_delimited,
    text,
    varint,
)

__all__ = [
    "END",
    "EVENT_ATTRIBUTE",
    "LINK_ATTRIBUTE",
    "REMOTE",
    "REMOTE_KNOWN",
    "SPAN_ATTRIBUTE",
    "SPAN_HEADS",
    "START",
    "TIMES",
    "W3C_FLAGS",
    "Envelope",
    "Envelopes",
    "TextAttribute",
    "attribute",
    "attributes",
    "dropped",
    "event",
    "export_request",
    "grouped",
    "head",
    "kind",
    "length_delimited",
    "link",
    "name",
    "span",
    "span_field",
    "status",
    "times",
    "varint",
]

logger = logging.getLogger(__name__)

# Numbers of the field "attributes", of type KeyValue, by what has them.
SPAN_ATTRIBUTE: Final = 9
EVENT_ATTRIBUTE: Final = 3
LINK_ATTRIBUTE: Final = 4
# SpanFlags: below the W3C trace flags; whether the parent (or the linked span) is in another process is known, and is true.
REMOTE_KNOWN: Final = 0x100
REMOTE: Final = 0x200
W3C_FLAGS: Final = 0xFF

_TRACE_IDS: Final = 2**128 - 1
_SPAN_IDS: Final = 2**64 - 1
_FIXED64: Final = Struct("<BQ")
# Start and end, each behind its tag; see `times`.
TIMES: Final = Struct("<BQBQ")
START: Final = 0x39
END: Final = 0x41
_FLAGS: Final = Struct("<HI")
_LINK_FLAGS: Final = Struct("<BI")


# --- the parts of a span ----------------------------------------------------------------------------------------------


class _Names(dict[str, bytes]):
    """The names that spans had; they are few, or not worth keeping."""

    def __missing__(self, name: str) -> bytes:
        encoded = text(5, name)
        if len(encoded) <= LONGEST_CACHED:
            if len(self) >= CACHED:
                self.clear()
            self[name] = encoded
        return encoded


# Every value that the flags of a span can have.
_FLAGS_HEX: Final = tuple(_FLAGS.pack(0x0185, flags).hex() for flags in range(0x400))

attributes: Final = Attributes(SPAN_ATTRIBUTE)
_event_attributes: Final = Attributes(EVENT_ATTRIBUTE)
_link_attributes: Final = Attributes(LINK_ATTRIBUTE)
_names: Final = _Names()
# What stands before a span of so many bytes; see `span`.
SPAN_HEADS: Final = Numbers(b"\x12")
_KINDS: Final = tuple(b"\x30" + varint(kind.value + 1) for kind in SpanKind)
_STATUSES: Final = {
    StatusCode.UNSET: b"\x7a\x00",
    StatusCode.OK: b"\x7a\x02\x18\x01",
    StatusCode.ERROR: b"\x7a\x02\x18\x02",
}


def head(trace_id: str, span_id: str, parent_id: str = "", tracestate: str = "", flags: int = REMOTE_KNOWN) -> bytes:
    """Return the ids (hexadecimal; no parent for a root), `tracestate` as its header says it, and the flags.

    `flags` are the W3C trace flags, `REMOTE_KNOWN`, and `REMOTE` where the parent is in another process.
    """
    parent = f"2208{parent_id}" if parent_id else ""
    ids = bytes.fromhex(f"0a10{trace_id}1208{span_id}{parent}{_FLAGS_HEX[flags]}")
    return ids + text(3, tracestate) if tracestate else ids


def name(value: str) -> bytes:
    """Return a span's name; a lone surrogate becomes a question mark."""
    return _names[value]


def kind(value: SpanKind) -> bytes:
    """Return a span's kind."""
    return _KINDS[value.value]


def times(start_ns: int, end_ns: int) -> bytes:
    """Return start and end, in unix nanoseconds; raises `struct.error` for a time before 1970."""
    return TIMES.pack(START, start_ns, END, end_ns)


def status(code: StatusCode, description: str = "") -> bytes:
    """Return a span's status."""
    if not description:
        return _STATUSES[code]
    return length_delimited(15, text(2, description) + count(3, code.value))


def event(name: str, time_ns: int, attributes: Mapping[str, Any], dropped: int = 0) -> bytes:
    """Return something that happened during a span; `dropped` counts the attributes that its limits left out.

    Never raises: applications say when it happened and what it is called, and a mistake of theirs fails no request. A time
    that is none becomes 0, which is "unknown".
    """
    try:
        when = _FIXED64.pack(0x09, time_ns)
    except struct.error:
        logger.warning("an event has no unix time in nanoseconds: %r", time_ns)
        when = b""
    content = when + text(2, str(name)) + _event_attributes(attributes) + count(4, dropped)
    return length_delimited(11, content)


def link(context: SpanContext, attributes: Mapping[str, Any], dropped: int = 0) -> bytes:
    """Return a link to another span; `dropped` as in `event`. Never raises: ids that are too long lose their beginning."""
    trace_id, span_id = context.trace_id & _TRACE_IDS, context.span_id & _SPAN_IDS
    ids = b"\x0a\x10%b\x12\x08%b" % (trace_id.to_bytes(16, "big"), span_id.to_bytes(8, "big"))
    remote = _LINK_FLAGS.pack(0x35, REMOTE_KNOWN | REMOTE if context.is_remote else REMOTE_KNOWN)
    return length_delimited(13, ids + _link_attributes(attributes) + count(5, dropped) + remote)


def dropped(attributes: int = 0, events: int = 0, links: int = 0) -> bytes:
    """Return how much the limits of a span left out."""
    return count(10, attributes) + count(12, events) + count(14, links)


def span(body: bytes) -> bytes:
    """Return a span's parts as the complete field of its request."""
    return SPAN_HEADS[len(body)] + body


# --- a span of the SDK ------------------------------------------------------------------------------------------------


def span_field(readable: ReadableSpan) -> bytes:
    """Return a span of the SDK as the complete field of its request; raises `ValueError` when it has no context."""
    state = readable._status
    code, description = state._status_code, state._description
    held: Any = readable._attributes
    parts = [
        _head_of(readable),
        _names[readable._name],
        _KINDS[readable._kind._value_],
        TIMES.pack(START, readable._start_time or 0, END, readable._end_time or 0),
        attributes(_plain(held)),
        _STATUSES[code] if not description else status(code, description),
    ]
    events, links = readable._events, readable._links
    if events or links or _dropped_by(held) or _dropped_by(events) or _dropped_by(links):
        parts.append(_rest_of(readable))
    body = b"".join(parts)
    return SPAN_HEADS[len(body)] + body


def _plain(held: Any) -> Mapping[str, Any]:
    """Return the dictionary inside of the SDK's attributes: their own `items` goes pair by pair, in Python."""
    plain: Mapping[str, Any] = getattr(held, "_dict", held) or {}
    return plain


def _dropped_by(limited: object) -> int:
    found: int = getattr(limited, "dropped", 0)
    return found


def _head_of(readable: ReadableSpan) -> bytes:
    context, parent = readable._context, readable._parent
    if context is None:
        raise ValueError(f"the span {readable._name!r} has no context")
    trace_id, span_id, _, trace_flags, tracestate, _ = context
    ids = b"\x0a\x10%b\x12\x08%b" % (trace_id.to_bytes(16, "big"), span_id.to_bytes(8, "big"))
    flags = REMOTE_KNOWN | trace_flags & W3C_FLAGS
    if parent is not None:
        ids += b"\x22\x08" + parent[1].to_bytes(8, "big")
        flags |= REMOTE if parent[2] else 0
    ids += _FLAGS.pack(0x0185, flags)
    return ids + _tracestate(tracestate) if tracestate else ids


def _tracestate(state: TraceState) -> bytes:
    return text(3, state.to_header())


def _rest_of(readable: ReadableSpan) -> bytes:
    """Return what few spans have."""
    parts = [event(e.name, e.timestamp, _plain(e.attributes), e.dropped_attributes) for e in readable.events]
    parts += [_link_of(link_to) for link_to in readable.links]
    parts.append(dropped(readable.dropped_attributes, readable.dropped_events, readable.dropped_links))
    return b"".join(parts)


def _link_of(found: Link) -> bytes:
    return link(found.context, _plain(found.attributes), found.dropped_attributes)


# --- requests ---------------------------------------------------------------------------------------------------------


class Envelope:
    """What the spans of one resource and one instrumentation scope share, encoded once."""

    __slots__ = ("resource", "scope")

    def __init__(self, resource: Resource, scope: InstrumentationScope | None) -> None:
        fields = _pairs(1, resource.attributes)
        self.resource = length_delimited(1, fields) + text(3, resource.schema_url)
        self.scope = length_delimited(1, _scope(scope)) + text(3, (scope.schema_url if scope else "") or "")


class Envelopes:
    """Finds the envelope of a span again, by identity: the SDK hands the same resource and scope to every span."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], tuple[Envelope, Resource, InstrumentationScope | None]] = {}

    def of(self, resource: Resource, scope: InstrumentationScope | None) -> Envelope:
        """Return the envelope, made at the first call."""
        key = id(resource), id(scope)
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= CACHED:
                self._found.clear()
            # Held on to, so that nothing else gets their identities.
            found = self._found[key] = Envelope(resource, scope), resource, scope
        return found[0]


def _scope(scope: InstrumentationScope | None) -> bytes:
    if scope is None:
        return b""
    return text(1, scope.name) + text(2, scope.version or "") + _pairs(3, scope.attributes or {})


def _pairs(field: int, attributes: Mapping[str, Any]) -> bytes:
    return b"".join(attribute(field, key, value) for key, value in attributes.items())


Groups = dict[Envelope, list[bytes]]
"""Encoded spans by what they share."""


def grouped(spans: Iterable[tuple[Envelope, bytes]]) -> Groups:
    """Return spans by their envelopes, in the order in which these came first."""
    groups: Groups = {}
    for envelope, encoded in spans:
        groups.setdefault(envelope, []).append(encoded)
    return groups


def export_request(groups: Groups) -> bytes:
    """Return an ExportTraceServiceRequest of spans (as `span` and `span_field` make them), by resource and scope."""
    resources: dict[bytes, dict[bytes, list[bytes]]] = {}
    for envelope, fields in groups.items():
        resources.setdefault(envelope.resource, {}).setdefault(envelope.scope, []).extend(fields)
    return b"".join(
        length_delimited(1, resource + b"".join(length_delimited(2, s + b"".join(f)) for s, f in scopes.items()))
        for resource, scopes in resources.items()
    )
