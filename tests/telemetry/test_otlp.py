"""The bytes that are written by hand say what the official encoder says; it is the oracle of every test here."""

import logging
from collections.abc import Iterator, Sequence
from enum import IntEnum, IntFlag
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from telemetry import otlp, protobuf

TIMES = st.integers(0, 2**63 - 1)
WHOLE = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# A character may be half of a pair, which UTF-8 has no bytes for.
TEXT = st.text(st.characters(), max_size=20)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.sampled_from([0, 1, -1, 127, 128, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1]),
    st.floats(),
    TEXT,
    st.binary(max_size=200),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=5)
STATES = st.sampled_from([None, TraceState([]), TraceState([("vendor", "a"), ("other", "b=c")])])
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.integers(0, 255).map(TraceFlags),
    STATES,
)
STATUSES = st.one_of(
    st.sampled_from([Status(StatusCode.UNSET), Status(StatusCode.OK)]),
    st.builds(Status, st.just(StatusCode.ERROR), st.one_of(st.none(), WHOLE)),
)
RESOURCES = (
    Resource({}),
    Resource({"service.name": "shop", "process.pid": 7}, "https://opentelemetry.io/schemas/1.44.0"),
    Resource({"service.name": "other", "process.command_args": ["a", "b"]}),
)
SCOPES = (
    InstrumentationScope("plain"),
    InstrumentationScope("versioned", "1.2", "https://opentelemetry.io/schemas/1.44.0", {"team": "shop", "many": [1]}),
    None,
)
READABLE = st.builds(
    ReadableSpan,
    name=WHOLE,
    context=CONTEXTS,
    parent=st.one_of(st.none(), CONTEXTS),
    resource=st.sampled_from(RESOURCES),
    attributes=st.one_of(st.none(), ATTRIBUTES),
    events=st.lists(st.builds(Event, WHOLE, st.one_of(st.none(), ATTRIBUTES), TIMES), max_size=2),
    links=st.lists(st.builds(Link, CONTEXTS, st.one_of(st.none(), ATTRIBUTES)), max_size=2),
    kind=st.sampled_from(SpanKind),
    status=STATUSES,
    start_time=st.one_of(st.none(), TIMES),
    end_time=st.one_of(st.none(), TIMES),
    instrumentation_scope=st.sampled_from(SCOPES),
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Nobody wants to read what the SDK thinks of random attributes."""
    sdk = logging.getLogger("opentelemetry")
    before = sdk.level
    sdk.setLevel(logging.CRITICAL + 1)
    yield
    sdk.setLevel(before)


class DrawnIds(IdGenerator):
    """Ids from Hypothesis, which wants to know of everything random."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw

    def generate_trace_id(self) -> int:
        return int(self.draw(st.integers(1, 2**128 - 1)))

    def generate_span_id(self) -> int:
        return int(self.draw(st.integers(1, 2**64 - 1)))


@st.composite
def made_by_a_tracer(draw: Any) -> ReadableSpan:
    limit = st.one_of(st.none(), st.integers(0, 3))
    limits = SpanLimits(
        max_span_attributes=draw(limit),
        max_events=draw(limit),
        max_links=draw(limit),
        max_event_attributes=draw(limit),
        max_link_attributes=draw(limit),
        max_attribute_length=draw(st.one_of(st.none(), st.integers(0, 5))),
    )
    provider = TracerProvider(
        resource=draw(st.sampled_from(RESOURCES)),
        span_limits=limits,
        id_generator=DrawnIds(draw),
        shutdown_on_exit=False,
    )
    tracer = provider.get_tracer(draw(WHOLE), draw(WHOLE), schema_url=draw(WHOLE), attributes=draw(ATTRIBUTES))
    parent = draw(st.one_of(st.none(), CONTEXTS))
    span = tracer.start_span(
        draw(WHOLE),
        trace.set_span_in_context(trace.NonRecordingSpan(parent)) if parent and parent.trace_flags.sampled else None,
        draw(st.sampled_from(SpanKind)),
        draw(ATTRIBUTES),
        draw(st.lists(st.builds(Link, CONTEXTS, ATTRIBUTES), max_size=3)),
        draw(TIMES),
    )
    span.set_attributes(draw(ATTRIBUTES))
    for happened in draw(st.lists(WHOLE, max_size=4)):
        span.add_event(happened, draw(ATTRIBUTES), draw(TIMES))
    span.record_exception(ValueError(draw(WHOLE)))
    span.set_status(draw(STATUSES))
    span.end(draw(TIMES))
    assert isinstance(span, ReadableSpan)
    return span


def envelope_of(span: ReadableSpan) -> otlp.Envelope:
    return otlp.Envelope(span.resource, span.instrumentation_scope)


def ours(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    envelopes: dict[tuple[int, int], otlp.Envelope] = {}
    batch = []
    for span in spans:
        key = id(span.resource), id(span.instrumentation_scope)
        envelope = envelopes.get(key) or envelopes.setdefault(key, envelope_of(span))
        batch.append((envelope, otlp.span_field(span)))
    return ExportTraceServiceRequest.FromString(otlp.export_request(otlp.grouped(batch)))


def expected(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Return what the official encoder makes, with the trace flags that it leaves out."""
    request = encode_spans(spans)
    flags = {s.context.span_id.to_bytes(8, "big"): s.context.trace_flags for s in spans if s.context}
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.flags |= flags[span.span_id] & otlp.W3C_FLAGS
    return request


def canonical(request: ExportTraceServiceRequest) -> bytes:
    # Not ==, to which a NaN is different from itself.
    return request.SerializeToString(deterministic=True)


@settings(max_examples=300, deadline=None)
@given(made_by_a_tracer())
def test_a_span_of_a_tracer_says_what_the_official_encoder_says(span: ReadableSpan):
    assert canonical(ours([span])) == canonical(expected([span]))


@settings(max_examples=300, deadline=None)
@given(READABLE)
def test_a_span_from_elsewhere_says_what_the_official_encoder_says(span: ReadableSpan):
    assert canonical(ours([span])) == canonical(expected([span]))


@settings(max_examples=50, deadline=None)
@given(st.lists(READABLE, max_size=8, unique_by=lambda span: span.context.span_id))
def test_spans_are_grouped_by_resource_and_scope_in_the_order_they_came(spans: list[ReadableSpan]):
    assert canonical(ours(spans)) == canonical(expected(spans))


def test_equal_resources_are_one_group_however_many_envelopes_describe_them():
    span = otlp.span_field(ReadableSpan("one", SpanContext(1, 2, is_remote=False)))
    batch = [(otlp.Envelope(Resource({"service.name": "shop"}), scope), span) for scope in SCOPES for _ in range(2)]
    request = ExportTraceServiceRequest.FromString(otlp.export_request(otlp.grouped(batch)))
    assert [len(s.spans) for r in request.resource_spans for s in r.scope_spans] == [2, 2, 2]
    assert len(request.resource_spans) == 1


def test_the_flags_carry_the_trace_flags_and_where_the_parent_is():
    flags = []
    for remote in (None, False, True):
        parent = None if remote is None else SpanContext(1, 3, is_remote=remote)
        span = ReadableSpan("s", SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(3)), parent)
        flags.append(ours([span]).resource_spans[0].scope_spans[0].spans[0].flags)
    assert flags == [0x103, 0x103, 0x303]


def test_texts_that_have_no_utf_8_keep_their_span():
    """The official encoder loses the whole batch for a name like this one."""
    span = ReadableSpan("a\ud800b", SpanContext(1, 2, is_remote=False), status=Status(StatusCode.ERROR, "\udfff"))
    [found] = ours([span]).resource_spans[0].scope_spans[0].spans
    assert (found.name, found.status.message) == ("a?b", "?")


def test_what_cannot_be_carried_is_left_out_and_reported_without_its_value(caplog: pytest.LogCaptureFixture):
    class Secret:
        def __repr__(self) -> str:
            return "hunter2"

    assert otlp.attributes({"good": 1, "bad": Secret()}) == otlp.attributes({"good": 1})
    assert "'bad'" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("when", [-1, 2**64, 1.5, None, "now"])
def test_an_event_at_no_time_is_one_at_an_unknown_time(when: Any):
    event = Span.Event(name="7", attributes=[KeyValue(key="a", value={"int_value": 1})])
    body = otlp.event(7, when, {"a": 1})  # type: ignore[arg-type] - an application's mistake
    assert Span.FromString(body).events[0] == event


def test_a_link_to_impossible_ids_is_one_to_their_ends():
    context = SpanContext(2**200 + 5, 2**100 + 6, is_remote=False)
    [found] = Span.FromString(otlp.link(context, {})).links
    assert (int.from_bytes(found.trace_id, "big"), int.from_bytes(found.span_id, "big")) == (5, 6)


def test_a_span_without_a_context_is_an_error():
    with pytest.raises(ValueError, match="no context"):
        otlp.span_field(ReadableSpan("nobody's"))


# --- what is kept ------------------------------------------------------------------------------------------------------


def decoded(field: bytes) -> KeyValue:
    # The field's tag and its length, one byte each.
    return KeyValue.FromString(field[2:])


@pytest.mark.parametrize(
    "lookalikes", [(1, True, 1.0), (0, False, 0.0, -0.0), ((1,), (True,), (1.0,)), ("a", b"a"), ({"a": 1}, {"a": True})]
)
def test_equal_values_of_different_types_stay_different(lookalikes: tuple[Any, ...]):
    for value in (*lookalikes, *reversed(lookalikes)):
        assert otlp.attributes({"key": value}) == otlp.attribute(otlp.SPAN_ATTRIBUTE, "key", value)


def test_values_that_never_come_again_do_not_pile_up():
    kept = protobuf.Attributes(otlp.SPAN_ATTRIBUTE)
    for number in range(3 * protobuf.CACHED):
        kept({"text": f"value {number}", "number": number, "long": "x" * 1_000 + str(number)})
        otlp.name(f"span {number}")
    sizes = [len(cache) for cache in kept.values() if isinstance(cache, dict)]
    assert max(sizes) <= protobuf.CACHED
    assert len(otlp._names) <= protobuf.CACHED
    assert all(len(encoded) <= protobuf.LONGEST_CACHED for encoded in kept[str].values())


# --- spans from parts --------------------------------------------------------------------------------------------------


def parts(span: ReadableSpan) -> Iterator[bytes]:
    context, parent = span.context, span.parent
    assert context is not None
    yield otlp.head(
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
        f"{parent.span_id:016x}" if parent else "",
        context.trace_state.to_header(),
        context.trace_flags | otlp.REMOTE_KNOWN | (otlp.REMOTE if parent and parent.is_remote else 0),
    )
    yield otlp.name(span.name)
    yield otlp.kind(span.kind)
    yield otlp.times(span.start_time or 0, span.end_time or 0)
    yield otlp.attributes(span.attributes or {})
    yield otlp.status(span.status.status_code, span.status.description or "")
    yield from (otlp.event(e.name, e.timestamp, e.attributes or {}, e.dropped_attributes) for e in span.events)
    yield from (otlp.link(to.context, to.attributes or {}, to.dropped_attributes) for to in span.links)
    yield otlp.dropped(span.dropped_attributes, span.dropped_events, span.dropped_links)


@settings(max_examples=100, deadline=None)
@given(made_by_a_tracer(), st.permutations(range(6)))
def test_a_span_from_its_parts_in_any_order_is_the_same(span: ReadableSpan, order: list[int]):
    found = list(parts(span))
    # Behind the first six are events and links, lists whose own order counts.
    body = b"".join([found[place] for place in order] + found[6:])
    request = otlp.export_request({envelope_of(span): [otlp.span(body)]})
    assert canonical(ExportTraceServiceRequest.FromString(request)) == canonical(expected([span]))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_text_attribute_is_the_attribute(value: str):
    assert otlp.TextAttribute(otlp.SPAN_ATTRIBUTE, "url.path")(value) == otlp.attribute(9, "url.path", value)


@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_read_back_by_protobuf(number: int):
    decoded = KeyValue.FromString(b"\x12" + protobuf.varint(len(b := b"\x18" + protobuf.varint(number))) + b)
    assert decoded.value.int_value % 2**64 == number


class Far(IntEnum):
    LEAST = -(2**63)
    MOST = 2**63 - 1
    TOO_MUCH = 2**63


class Mode(IntFlag):
    READ = 4
    WRITE = 2


@pytest.mark.parametrize("number", [HTTPStatus.CREATED, Mode.READ | Mode.WRITE, Mode(0), Far.LEAST, Far.MOST])
def test_an_enumeration_s_number_is_its_number(number: int):
    """Looked for in a range, one is compared with each number of it: for centuries."""
    assert protobuf.any_value(number) == protobuf.any_value(int(number))
    assert otlp.attribute(otlp.SPAN_ATTRIBUTE, "n", number) == otlp.attribute(otlp.SPAN_ATTRIBUTE, "n", int(number))


def test_an_enumeration_s_number_beyond_64_bits_is_left_out(caplog: pytest.LogCaptureFixture):
    assert otlp.attribute(otlp.SPAN_ATTRIBUTE, "n", Far.TOO_MUCH) == b""
    assert "64 bits do not fit" in caplog.text


def test_a_boolean_is_none_of_them():
    assert protobuf.any_value(value=True) == b"\x10\x01"
