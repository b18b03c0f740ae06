"""Whom a request continues and what it hands on, with propagators other than the usual ones; children of either kind."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from telemetry import TelemetryMiddleware
from telemetry import conventions as c
from telemetry.propagation import from_metadata, to_metadata
from telemetry.recording import Template
from telemetry.testing import capture_spans, fresh_telemetry

pytestmark = pytest.mark.usefixtures("build")

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
PATHS = pytest.mark.parametrize("obstacle", ["", "a test's"], ids=["fast", "sdk"])


class Single(TextMapPropagator):
    """One header in the manner of B3: trace id, span id, sampled."""

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        (value,) = getter.get(carrier, "b3") or [""]
        if not value:
            return context or Context()
        trace_id, span_id, sampled = value.split("-")
        found = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(sampled)))
        return trace.set_span_in_context(NonRecordingSpan(found), context)

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        ids = trace.get_current_span(context).get_span_context()
        setter.set(carrier, "b3", f"{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags & 1}")

    @property
    def fields(self) -> set[str]:
        return {"b3"}


class Suspicious(TraceContextTextMapPropagator):
    """Reads the usual headers, and believes none of them."""

    def extract(self, _carrier: Any, context: Context | None = None, **_: Any) -> Context:  # type: ignore[override]
        return context or Context()


@pytest.fixture
def exchanged() -> Iterator[Any]:
    before = propagate.get_global_textmap()
    yield propagate.set_global_textmap
    propagate.set_global_textmap(before)


async def ask(telemetry: Any, headers: dict[str, str]) -> dict[str, str]:
    """Serve a request; returns what its handler would send to the next process."""
    carried: dict[str, str] = {}

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        operation = telemetry.recorder.begin(Template("call", SpanKind.CLIENT))
        carried.update(to_metadata(trace.set_span_in_context(operation.span)))
        operation.conclude()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def nothing(*_: Any) -> Any:
        pass

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": pairs}
    await TelemetryMiddleware(app, telemetry)(scope, nothing, nothing)
    return carried


@PATHS
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_propagator_of_somebody_s_own_is_used_in_and_out(exchanged: Any, when: str, obstacle: str):
    if when == "before":
        exchanged(Single())
    telemetry, _ = fresh_telemetry()
    telemetry.recorder.obstacle = obstacle
    await ask(telemetry, {"traceparent": f"00-{TRACE}-{PARENT}-01"})
    exchanged(Single())
    with capture_spans() as spans:
        carried = await ask(telemetry, {"b3": f"{TRACE}-{PARENT}-1", "traceparent": f"00-{'1' * 32}-{PARENT}-01"})
    call, request = spans
    assert (request.trace_id, request.parent_id) == (TRACE, PARENT)
    assert carried == {"b3": f"{TRACE}-{call.span_id}-1"}


async def test_a_call_over_grpc_is_continued_by_a_propagator_of_somebody_s_own(exchanged: Any):
    exchanged(Single())
    parent, _ = from_metadata([("b3", f"{TRACE}-{PARENT}-1")])
    assert parent is not None
    assert parent[:2] == (TRACE, PARENT)


@PATHS
async def test_a_propagator_that_reads_the_usual_headers_in_its_own_way_is_asked(exchanged: Any, obstacle: str):
    telemetry, _ = fresh_telemetry()
    telemetry.recorder.obstacle = obstacle
    exchanged(Suspicious())
    with capture_spans() as spans:
        await ask(telemetry, {"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert {span.trace_id for span in spans} != {TRACE}


@PATHS
async def test_a_propagator_that_fails_costs_the_parent_and_not_the_request(exchanged: Any, obstacle: str):
    telemetry, logs = fresh_telemetry()
    telemetry.recorder.obstacle = obstacle
    exchanged(Single())
    with capture_spans() as spans:
        await ask(telemetry, {"b3": "nonsense"})
    telemetry.shutdown()
    assert spans[-1].parent_id == ""
    assert [line[c.LOG_LEVEL] for line in logs.lines] == ["error", "info"]


@PATHS
def test_spans_of_other_instrumentations_and_ours_are_children_of_one_another(obstacle: str):
    telemetry, _ = fresh_telemetry()
    telemetry.recorder.obstacle = obstacle
    theirs = trace.get_tracer("opentelemetry.instrumentation.somebody")
    with capture_spans() as spans:
        outer = telemetry.recorder.begin(Template("ours, outer", SpanKind.SERVER), Context())
        with (
            trace.use_span(outer.span),
            theirs.start_as_current_span("SELECT", kind=SpanKind.CLIENT) as statement,
        ):
            assert isinstance(statement, ReadableSpan)
            assert statement.is_recording()
            telemetry.recorder.begin(Template("ours, inner", SpanKind.CLIENT)).conclude()
        outer.conclude()
    named = {span.name: span for span in spans}
    parents = {span.name: span.parent_id for span in spans}
    ids = {name: span.span_id for name, span in named.items()}
    assert parents == {"ours, outer": "", "SELECT": ids["ours, outer"], "ours, inner": ids["SELECT"]}
    assert len({span.trace_id for span in spans}) == 1
