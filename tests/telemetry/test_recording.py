"""Fast spans say what spans of the SDK would: random requests and operations, judged by the SDK and its official encoder."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from telemetry import TelemetryMiddleware
from telemetry import conventions as c
from telemetry.operations import Recorder
from telemetry.otlp import Envelope, export_request
from telemetry.propagation import to_metadata
from telemetry.recording import FastSpan, Template
from telemetry.sampling import decision_of
from telemetry.setup import Telemetry
from telemetry.testing import fresh_telemetry
from telemetry.tracing import Provider

pytestmark = pytest.mark.usefixtures("build")

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
OTHER = SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(1))

texts = st.text(max_size=12)
values = st.one_of(
    texts, st.booleans(), st.integers(-(2**40), 2**40), st.floats(), st.lists(texts, max_size=3), st.binary(max_size=4)
)
keys = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from([c.HTTP_ROUTE, c.URL_PATH, c.CLIENT_ADDRESS, "mine"]))
statuses = st.sampled_from([Status(StatusCode.OK), Status(StatusCode.ERROR, "why"), Status(StatusCode.ERROR), Status()])
attributes = st.dictionaries(keys, values, max_size=4)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("set_attribute"), keys, values),
        st.tuples(st.just("set_attributes"), attributes),
        st.tuples(st.just("add_event"), texts, attributes, st.integers(1, 2**60)),
        st.tuples(st.just("add_link"), st.just(OTHER), attributes),
        st.tuples(st.just("update_name"), st.text(min_size=1, max_size=8)),
        st.tuples(st.just("set_status"), statuses),
    ),
    max_size=6,
)
tokens = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.~%/", min_size=0, max_size=20)
parents = st.sampled_from(
    [
        {},
        {"traceparent": f"00-{TRACE}-{PARENT}-01"},
        {"traceparent": f"00-{TRACE}-{PARENT}-03", "tracestate": "vendor=1,other=2"},
        {"traceparent": f"cc-{TRACE}-{PARENT}-01-later", "baggage": "colour=blue"},
        {"traceparent": "nonsense"},
    ]
)


@dataclass(frozen=True)
class Request:
    """What is asked, what the handler does with its span, and what it answers."""

    method: str
    path: str
    query: str
    status: int
    route: str
    agent: str
    context: dict[str, str]
    actions: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def scope(self) -> dict[str, Any]:
        headers = {"host": "shop.test:8443", "user-agent": self.agent, **self.context}
        return {
            "type": "http",
            "method": self.method,
            "path": f"/{self.path}",
            "raw_path": f"/{self.path}".encode(),
            "query_string": self.query.encode(),
            "scheme": "https",
            "http_version": "1.1",
            "client": ("192.0.2.7", 40_000),
            "server": ("127.0.0.1", 8443),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            **({"path_template": self.route} if self.route else {}),
        }

    @property
    def known(self) -> bool:
        return self.method in {"GET", "POST"}


requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "BREW"]),
    path=tokens,
    query=st.sampled_from(["", "q=shirt", "a=1&b=2"]),
    status=st.sampled_from([200, 204, 404, 500, 503]),
    route=st.sampled_from(["", "/items/{id}"]),
    agent=st.text(st.characters(codec="latin-1", categories=["L", "N"]), max_size=9),
    context=parents,
    actions=actions,
)


@contextmanager
def exported(provider: Provider) -> Iterator[list[ProtoSpan]]:
    """Collect what fast spans become, read by the official classes."""
    spans: list[ProtoSpan] = []

    def take(envelope: Envelope, encoded: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(export_request({envelope: [encoded]}))
        spans.append(request.resource_spans[0].scope_spans[0].spans[0])

    with provider.outlet.shown_to(take):
        yield spans


def ours() -> tuple[Telemetry, Provider]:
    telemetry, _ = fresh_telemetry()
    provider = trace.get_tracer_provider()
    assert isinstance(provider, Provider)
    assert telemetry.recorder.obstacle == ""
    return telemetry, provider


async def served(request: Request, telemetry: Telemetry) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        perform(trace.get_current_span(), request.actions)
        await send({"type": "http.response.start", "status": request.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def nothing(*_: Any) -> Any:
        pass

    await TelemetryMiddleware(app, telemetry)(request.scope, nothing, nothing)


def perform(span: trace.Span, actions: list[tuple[Any, ...]]) -> None:
    for name, *arguments in actions:
        getattr(span, name)(*arguments)


def by_the_sdk(request: Request) -> ReadableSpan:
    """Make the span by hand, as the conventions for HTTP have it."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    method = request.method if request.known else "HTTP"
    begun = {"http.request.method": request.method if request.known else "_OTHER"}
    span = provider.get_tracer("by hand").start_span(
        method, propagate.extract(request.context, Context()), SpanKind.SERVER, begun
    )
    perform(span, request.actions)
    assert isinstance(span, ReadableSpan)
    told = {
        "http.request.method_original": "" if request.known else request.method,
        "http.route": request.route,
        "http.response.status_code": request.status,
        "url.path": f"/{request.path}",
        "url.query": request.query,
        "url.scheme": "https",
        "server.address": "shop.test",
        "server.port": 8443,
        "client.address": "192.0.2.7",
        "network.protocol.version": "1.1",
        "user_agent.original": request.agent,
        "error.type": str(request.status) if request.status >= 500 else "",
    }
    there = span.attributes or {}
    span.set_attributes({key: value for key, value in told.items() if value and key not in there})
    if span.name == method:
        span.update_name(f"{method} {request.route}" if request.route else method)
    if request.status >= 500 and span.status.status_code is StatusCode.UNSET:
        span.set_status(StatusCode.ERROR)
    span.end()
    return exporter.get_finished_spans()[0]


def official(span: ReadableSpan) -> ProtoSpan:
    return encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]


def comparable(span: ProtoSpan, *, root: bool) -> ProtoSpan:
    """Leave out what two spans of one request cannot share, and what has no order; flags differ as facts are known."""
    copy = ProtoSpan.FromString(span.SerializeToString())
    copy.span_id = b""
    if root:
        copy.trace_id = b""
    copy.start_time_unix_nano = copy.end_time_unix_nano = 0
    copy.flags &= ~0xFF
    pairs = sorted(copy.attributes, key=lambda pair: pair.key)
    del copy.attributes[:]
    copy.attributes.extend(pairs)
    return copy


@settings(max_examples=300, deadline=None)
@given(requests)
def test_a_request_is_told_as_the_sdk_would(request: Request):
    telemetry, provider = ours()
    with exported(provider) as spans:
        asyncio.run(served(request, telemetry))
    (span,) = spans
    expected = official(by_the_sdk(request))
    root = not expected.parent_span_id
    assert comparable(span, root=root) == comparable(expected, root=root)
    assert span.flags & 0xFF == (3 if root else int(request.context["traceparent"].split("-")[3], 16))


@settings(max_examples=150, deadline=None)
@given(attributes, actions, attributes, st.booleans(), st.sampled_from(SpanKind))
def test_an_operation_is_told_as_the_sdk_would(
    begun: dict[str, Any], actions: list[tuple[Any, ...]], end: dict[str, Any], failed: object, kind: SpanKind
):
    telemetry, provider = ours()
    more = {key: value for key, value in end.items() if key not in begun}
    with exported(provider) as spans:
        operation = telemetry.recorder.begin(Template("SELECT things", kind, begun), Context())
        perform(operation.span, actions)
        operation.conclude(more, failed=bool(failed))
    exporter = InMemorySpanExporter()
    reference = TracerProvider(shutdown_on_exit=False)
    reference.add_span_processor(SimpleSpanProcessor(exporter))
    by_hand = Recorder(reference.get_tracer("by hand"), "for comparison").begin(
        Template("SELECT things", kind, begun), Context()
    )
    perform(by_hand.span, actions)
    by_hand.conclude(more, failed=bool(failed))
    expected = official(exporter.get_finished_spans()[0])
    assert comparable(spans[0], root=True) == comparable(expected, root=True)


def test_more_than_the_limits_allow_is_left_out_and_counted_as_by_the_sdk():
    request = Request("GET", "", "", 200, "/", "", {}, [
        *(("set_attribute", f"key{number}", number) for number in range(200)),
        *(("add_event", "again", {}, 5) for _ in range(140)),
        *(("add_link", OTHER, {}) for _ in range(130)),
        ("add_event", "full", {f"key{number}": 1 for number in range(130)}, 5),
    ])  # fmt: skip
    telemetry, provider = ours()
    with exported(provider) as spans:
        asyncio.run(served(request, telemetry))
    expected = official(by_the_sdk(request))
    assert (spans[0].dropped_events_count, spans[0].dropped_links_count) == (13, 2)
    assert spans[0].dropped_attributes_count == expected.dropped_attributes_count > 0
    assert comparable(spans[0], root=True).events == comparable(expected, root=True).events
    assert len(spans[0].attributes) == 128


def test_an_exception_is_an_event_as_the_sdk_makes_it():
    telemetry, provider = ours()
    error = LookupError("nothing")
    with exported(provider) as spans:
        operation = telemetry.recorder.begin(Template("x", SpanKind.CLIENT), Context())
        operation.span.record_exception(error, {"more": 1}, timestamp=5, escaped=True)
        operation.conclude(failed=True, description="why")
    exporter = InMemorySpanExporter()
    reference = TracerProvider(shutdown_on_exit=False)
    reference.add_span_processor(SimpleSpanProcessor(exporter))
    span = reference.get_tracer("by hand").start_span("x", Context(), SpanKind.CLIENT)
    span.record_exception(error, {"more": 1}, timestamp=5, escaped=True)
    span.set_status(Status(StatusCode.ERROR, "why"))
    span.end()
    expected = official(exporter.get_finished_spans()[0])
    assert comparable(spans[0], root=True) == comparable(expected, root=True)


def test_a_span_that_has_ended_takes_nothing_more_and_says_so(caplog: pytest.LogCaptureFixture):
    telemetry, provider = ours()
    with exported(provider) as spans, caplog.at_level(logging.WARNING):
        operation = telemetry.recorder.begin(Template("x", SpanKind.CLIENT), Context())
        operation.conclude()
        operation.conclude()
        operation.span.set_attribute("late", 1)
        operation.span.add_event("late")
    assert len(spans) == 1
    assert not operation.span.is_recording()
    assert len(caplog.records) == 2


def test_threads_that_note_their_first_at_one_moment_lose_nothing():
    telemetry, provider = ours()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with exported(provider) as spans, ThreadPoolExecutor(2) as pool:
            for _ in range(300):
                operation = telemetry.recorder.begin(Template("x", SpanKind.CLIENT), Context())
                together = Barrier(2)
                list(pool.map(partial(_note, operation.span, together), range(2)))
                operation.conclude()
    finally:
        sys.setswitchinterval(interval)
    assert [len(span.attributes) for span in spans] == [2] * 300


def _note(span: trace.Span, together: Barrier, number: int) -> None:
    together.wait(10)
    span.set_attribute(f"thread{number}", number)


def test_children_of_either_kind_belong_to_the_request():
    telemetry, provider = ours()
    with exported(provider) as spans:
        outer = telemetry.recorder.begin(Template("outer", SpanKind.CLIENT), Context())
        token = attach(trace.set_span_in_context(outer.span))
        telemetry.recorder.begin(Template("fast", SpanKind.CLIENT)).conclude()
        with trace.get_tracer("somebody").start_as_current_span("theirs"):
            telemetry.recorder.begin(Template("inner", SpanKind.CLIENT)).conclude()
        detach(token)
        outer.conclude()
    named = {span.name: span for span in spans}
    assert {span.trace_id for span in spans} == {named["outer"].trace_id}
    assert named["fast"].parent_span_id == named["theirs"].parent_span_id == named["outer"].span_id
    assert named["inner"].parent_span_id == named["theirs"].span_id


def test_an_unsampled_span_carries_ids_and_is_not_exported():
    telemetry, provider = ours()
    context = propagate.extract({"traceparent": f"00-{TRACE}-{PARENT}-00"}, Context())
    with exported(provider) as spans:
        operation = telemetry.recorder.begin(Template("x", SpanKind.CLIENT), context)
        operation.span.set_attribute("mine", 1)
        carried = to_metadata(trace.set_span_in_context(operation.span, Context()))
        operation.conclude()
    assert spans == []
    assert not operation.span.is_recording()
    assert carried["traceparent"].startswith(f"00-{TRACE}-")
    assert carried["traceparent"].endswith("-00")


def test_baggage_and_tracestate_go_on_with_a_fast_span():
    telemetry, _ = ours()
    carrier = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1", "baggage": "colour=blue"}
    context = propagate.extract(carrier, Context())
    operation = telemetry.recorder.begin(Template("x", SpanKind.CLIENT), context)
    carried = to_metadata(trace.set_span_in_context(operation.span, context))
    operation.conclude()
    assert (carried["tracestate"], carried["baggage"]) == ("vendor=1", "colour=blue")
    assert baggage.get_baggage("colour", context) == "blue"


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (ALWAYS_ON, (True, True, True)),
        (ALWAYS_OFF, (False, False, False)),
        (ParentBased(ALWAYS_ON), (True, True, False)),
        (ParentBased(ALWAYS_OFF), (False, True, False)),
        (ParentBased(TraceIdRatioBased(1.0)), (True, True, False)),
        (TraceIdRatioBased(0.0), (False, False, False)),
    ],
)
def test_the_sdk_s_samplers_are_decided_as_they_decide(sampler: Sampler, expected: tuple[bool, ...]):
    decide = decision_of(sampler)
    assert decide is not None
    assert tuple(decide(TRACE, parent) for parent in (None, True, False)) == expected


@given(st.integers(1, 2**128 - 1), st.floats(0, 1))
def test_a_ratio_is_decided_by_the_trace_id_as_the_sdk_does(trace_id: int, rate: float):
    sampler = TraceIdRatioBased(rate)
    decide = decision_of(sampler)
    assert decide is not None
    assert decide(f"{trace_id:032x}", None) == sampler.should_sample(None, trace_id, "x").decision.is_sampled()


class _Own(Sampler):
    def should_sample(self, *arguments: Any, **options: Any) -> Any:
        return ALWAYS_ON.should_sample(*arguments, **options)

    def get_description(self) -> str:
        return "AlwaysOnSampler"


@pytest.mark.parametrize("sampler", [_Own(), ParentBased(ALWAYS_ON, remote_parent_sampled=ALWAYS_OFF)])
def test_a_sampler_of_somebody_s_own_is_none_that_a_fast_span_can_honour(sampler: Sampler):
    assert decision_of(sampler) is None


def test_a_span_in_hand_is_one_of_opentelemetry_s():
    telemetry, _ = ours()
    operation = telemetry.recorder.begin(Template("x", SpanKind.CLIENT), Context())
    assert isinstance(operation.span, trace.Span)
    assert isinstance(operation.span, FastSpan)
    with trace.use_span(operation.span, end_on_exit=True) as span:
        assert trace.get_current_span() is span
        span.add_link(trace.INVALID_SPAN_CONTEXT)
    operation.conclude()
