"""Fast spans: what an operation is told by, encoded once when it ends, without the SDK's machinery.

A fast span is an `opentelemetry.trace.Span` in OpenTelemetry's context, so any other instrumentation parents onto it. It
costs a few microseconds where a span of the SDK costs 10 to 35. Processors, samplers and id generators of somebody else's
and tight limits need the real thing: then spans of the SDK are made (`Provider._obstacle` says when, and a log line why).
"""

import logging
import traceback
from collections.abc import Mapping, Sequence
from random import getrandbits
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import Attributes, AttributeValue

from . import conventions as c
from . import otlp
from .errors import error_type_of, message_of

if TYPE_CHECKING:
    from .operations import Recorder

logger = logging.getLogger(__name__)

SAMPLED: Final = 0x01
RANDOM: Final = 0x02
INHERITED: Final = SAMPLED | RANDOM
# What OpenTelemetry keeps the current span under, learnt from its public function: calling that for every request would
# copy the context twice.
CURRENT_SPAN: Final = next(iter(set_span_in_context(INVALID_SPAN, Context())))
NOTHING: Final[Mapping[str, Any]] = {}
_FLAGS: Final = tuple(TraceFlags(number) for number in range(256))


class Template:
    """What the spans of one kind of operation share; the bytes are made once."""

    __slots__ = ("attributes", "body", "failed_body", "kind", "name", "shared")

    def __init__(self, name: str, kind: SpanKind, attributes: Mapping[str, Any] = NOTHING) -> None:
        self.name = name
        self.kind = kind
        self.attributes = attributes
        # Without a status; then with either of the two that have nothing more to say.
        self.shared = otlp.name(name) + otlp.kind(kind) + otlp.attributes(attributes)
        self.body = self.shared + otlp.status(StatusCode.UNSET)
        self.failed_body = self.shared + otlp.status(StatusCode.ERROR)


class Notes:
    """What was said of a span while it was open, within the limits that every span of the SDK has."""

    __slots__ = ("attributes", "events", "links", "name", "status")

    def __init__(self, limits: SpanLimits) -> None:
        length = limits.max_span_attribute_length
        self.attributes = BoundedAttributes(limits.max_span_attributes, immutable=False, max_value_len=length)
        self.events: BoundedList[bytes] = BoundedList(limits.max_events)
        self.links: BoundedList[bytes] = BoundedList(limits.max_links)
        self.name = ""
        self.status: Status | None = None

    @property
    def only_add(self) -> bool:
        """Whether name and status are what the instrumentation says."""
        return not self.name and self.status is None


# Whom a span continues: trace id, span id, W3C flags, tracestate, and whether that is in another process. A plain tuple:
# one is made for every request, and anything with names costs ten times as much.
Parent = tuple[str, str, int, TraceState | None, bool]


def parent_of(context: SpanContext) -> Parent | None:
    """Return the parent that a context stands for, None for an invalid one."""
    if not context.is_valid:
        return None
    ids = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return (*ids, context.trace_flags, context.trace_state or None, context.is_remote)


# What a fast span holds; see `FastSpan`.
SPAN_FIELDS: Final = ("_context", "_notes", "ended", "flags", "parent_id", "recorder", "remote", "span_id", "trace_id", "tracestate")  # fmt: skip


class FastSpan(Span):
    """An open span: its ids, and what was noted of it. Unsampled ones carry ids and note nothing.

    Who inherits says where the fields are kept: in slots, or in the memory of a compiled object.
    """

    __slots__ = ()

    recorder: "Recorder"
    trace_id: str
    span_id: str
    parent_id: str
    flags: int
    remote: bool
    tracestate: TraceState | None
    ended: bool
    _context: SpanContext | None
    _notes: Notes | None

    def begin(self, recorder: "Recorder", parent: Parent | None) -> None:
        """Take ids, and the decision whether it is sampled."""
        self.recorder = recorder
        self._context = None
        self._notes = None
        self.ended = False
        self.span_id = f"{getrandbits(64) or 1:016x}"
        if parent is None:
            self.trace_id = trace_id = f"{getrandbits(128) or 1:032x}"
            self.parent_id, self.tracestate, self.remote = "", None, False
            self.flags = RANDOM | recorder.decide(trace_id, None)
        else:
            self.trace_id, self.parent_id, flags, self.tracestate, self.remote = parent
            if recorder.follows_parent:
                self.flags = flags & INHERITED
            else:
                self.flags = flags & RANDOM | recorder.decide(self.trace_id, flags & SAMPLED == SAMPLED)

    @property
    def sampled(self) -> bool:
        """Whether it is exported when it ends."""
        return self.flags & SAMPLED == SAMPLED

    def as_parent(self) -> Parent:
        """Return what its children continue."""
        return self.trace_id, self.span_id, self.flags, self.tracestate, False

    @property
    def traceparent(self) -> str:
        """What says to another process, or in an answer, which span this is (W3C Trace Context)."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def get_span_context(self) -> SpanContext:
        """Return the ids."""
        if self._context is None:
            ids = int(self.trace_id, 16), int(self.span_id, 16)
            self._context = SpanContext(*ids, False, _FLAGS[self.flags], self.tracestate)
        return self._context

    def is_recording(self) -> bool:
        """Tell whether what is noted will be exported."""
        return not self.ended and self.flags & SAMPLED == SAMPLED

    def _open(self) -> Notes | None:
        """Return where to note something, None where nobody would read it."""
        if self.ended:
            logger.warning("a span that has ended takes no more attributes, events or links")
            return None
        if not self.flags & SAMPLED:
            return None
        if self._notes is None:
            # Threads that work for one request may note their first at the same moment.
            with self.recorder.lock:
                self._notes = self._notes or Notes(self.recorder.limits)
        return self._notes

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Note an attribute; it takes the place of the instrumentation's own."""
        if notes := self._open():
            notes.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Note several attributes."""
        if notes := self._open():
            notes.attributes.update(attributes)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Note that something happened, now or at `timestamp` (unix ns)."""
        if notes := self._open():
            limits = self.recorder.limits
            bounded = _bounded(limits.max_event_attributes, attributes, limits.max_attribute_length)
            encoded = otlp.event(name, time_ns() if timestamp is None else timestamp, bounded, bounded.dropped)
            notes.events.append(encoded)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Note a relation to another span."""
        notes = self._open() if context and (context.is_valid or attributes or context.trace_state) else None
        if notes:
            limits = self.recorder.limits
            bounded = _bounded(limits.max_link_attributes, attributes, limits.max_attribute_length)
            notes.links.append(otlp.link(context, bounded, bounded.dropped))

    def add_links(self, links: Sequence[Link]) -> None:
        """Note the relations that it begins with."""
        for link in links:
            self.add_link(link.context, link.attributes)

    def update_name(self, name: str) -> None:
        """Name the span; the instrumentation's own name gives way."""
        if notes := self._open():
            notes.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the outcome; OK is final, UNSET says nothing (the SDK's rules)."""
        if isinstance(status, StatusCode):
            status = Status(status, description)
        if status.status_code is StatusCode.UNSET:
            return
        notes = self._open()
        if notes and (notes.status is None or notes.status.status_code is not StatusCode.OK):
            notes.status = status

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: FBT001, FBT002 - OpenTelemetry's signature
    ) -> None:
        """Note an exception as an event."""
        if not self.is_recording():
            return
        noted: dict[str, Any] = {
            c.EXCEPTION_TYPE: error_type_of(exception),
            c.EXCEPTION_MESSAGE: message_of(exception),
            c.EXCEPTION_STACKTRACE: "".join(traceback.format_exception(exception)),
            c.EXCEPTION_ESCAPED: str(escaped),
        }
        self.add_event(c.EXCEPTION_EVENT, {**noted, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: whoever began it ends it."""

    def head(self) -> bytes:
        """Return the encoded ids, tracestate and flags."""
        flags = self.flags | (otlp.REMOTE_KNOWN | otlp.REMOTE if self.remote else otlp.REMOTE_KNOWN)
        if self.tracestate:
            return otlp.head(self.trace_id, self.span_id, self.parent_id, self.tracestate.to_header(), flags)
        return otlp.head(self.trace_id, self.span_id, self.parent_id, "", flags)

    def emit(
        self, template: Template, times: bytes, more: Mapping[str, Any], *, failed: bool, description: str = ""
    ) -> None:
        """Encode a span that ended and hand it over; `more` are attributes that only its end could tell.

        The general way: right for everything that may have been noted meanwhile.
        """
        notes = self._notes
        if notes is None:
            body = template.failed_body if failed else template.body
            if failed and description:
                body = template.shared + otlp.status(StatusCode.ERROR, description)
            self.recorder.take(otlp.span(self.head() + times + body + otlp.attributes(more)))
            return
        limits = self.recorder.limits
        merged = BoundedAttributes(limits.max_span_attributes, template.attributes, immutable=False)
        merged.update(notes.attributes)
        merged.update(more)
        parts = (
            self.head(),
            times,
            otlp.name(notes.name or template.name),
            otlp.kind(template.kind),
            otlp.attributes(merged),
            status_of(notes, description, failed=failed),
            said(notes, merged.dropped),
        )
        self.recorder.take(otlp.span(b"".join(parts)))


def _bounded(most: int | None, attributes: Attributes, longest: int | None) -> BoundedAttributes:
    return BoundedAttributes(most, attributes, max_value_len=longest)


def status_of(notes: Notes, description: str, *, failed: bool) -> bytes:
    """Return the encoded outcome: what was noted counts more than what the instrumentation saw."""
    if notes.status is not None:
        return otlp.status(notes.status.status_code, notes.status.description or "")
    return otlp.status(StatusCode.ERROR, description) if failed else otlp.status(StatusCode.UNSET)


def is_undecided(span: Span) -> bool:
    """Tell whether nobody has set the outcome of a span of the SDK; one of somebody else's may not say."""
    return getattr(getattr(span, "status", None), "status_code", StatusCode.UNSET) is StatusCode.UNSET


def said(notes: Notes, lost: int = 0) -> bytes:
    """Return the encoded events and links, and what the limits left out; `lost` attributes besides those of the notes."""
    dropped = otlp.dropped(notes.attributes.dropped + lost, notes.events.dropped, notes.links.dropped)
    return b"".join([*notes.events, *notes.links, dropped])
