"""The exporter for anybody's `BatchSpanProcessor` does what the official one does; that one is asked in the same test."""

import threading
import time
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Official
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanContext

from telemetry import otlp_exporter
from telemetry.exporters import ConfigurationError
from telemetry.otlp_exporter import OTLPSpanExporter

SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_exporter, "FIRST_BACKOFF", 0.001)


def ended(name: str = "span", **attributes: Any) -> ReadableSpan:
    provider = TracerProvider(resource=Resource({"service.name": "foreign"}), shutdown_on_exit=False)
    span = provider.get_tracer("lib", "1.0").start_span(name, attributes=attributes)
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


def messages(bodies: list[bytes]) -> list[ExportTraceServiceRequest]:
    found = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    for message in found:
        for span in message.resource_spans[0].scope_spans[0].spans:
            # The official encoder leaves the trace flags out.
            span.flags &= ~0xFF
    return found


@pytest.mark.parametrize(
    "environ",
    [
        {"ENDPOINT": "{base}"},
        {"ENDPOINT": "{base}/", "HEADERS": "x-tenant=shop,authorization=Bearer%20abc", "COMPRESSION": "gzip"},
        {"ENDPOINT": "http://127.0.0.1:9", "TRACES_ENDPOINT": "{base}/elsewhere", "TRACES_COMPRESSION": "deflate"},
        {"ENDPOINT": "{base}", "HEADERS": "x-tenant=all", "TRACES_HEADERS": "x-tenant=traces", "TIMEOUT": "5"},
    ],
    ids=["defaults", "headers and gzip", "an endpoint of its own", "the variable for traces wins"],
)
def test_the_same_variables_give_the_request_that_the_official_exporter_sends(
    collector: Any, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    base = collector.url.removesuffix("/v1/traces")
    for name, value in environ.items():
        monkeypatch.setenv(PREFIX + name, value.format(base=base))
    spans = [ended("one", text="ä", number=7), ended("two")]
    for exporter in (Official(), OTLPSpanExporter()):
        assert exporter.export(spans) is SUCCESS
        exporter.shutdown()
    theirs, ours = (
        {name: headers.get(name) for name in ("content-type", "content-encoding", "x-tenant", "authorization")}
        for headers in collector.requests
    )
    assert ours == theirs
    assert collector.paths[0] == collector.paths[1]
    theirs_said, ours_said = messages(collector.bodies)
    assert ours_said == theirs_said


def test_the_arguments_win_over_the_variables(collector: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(f"{PREFIX}ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv(f"{PREFIX}COMPRESSION", "deflate")
    arguments: dict[str, Any] = {"endpoint": collector.url, "headers": {"X-Tenant": "a,b=c"}, "timeout": 5}
    OTLPSpanExporter(**arguments, compression=Compression.Gzip).export([ended()])
    [headers] = collector.requests
    assert (headers["x-tenant"], headers["content-encoding"]) == ("a,b=c", "gzip")


def test_a_certificate_of_ones_own_is_an_argument_too(tls_collector: Any):
    collector, certificate = tls_collector
    assert OTLPSpanExporter(collector.url, str(certificate)).export([ended("private")]) is SUCCESS
    assert OTLPSpanExporter(collector.url, timeout=0.2).export([ended("to a stranger")]) is FAILURE
    assert [span.name for span in collector.spans] == ["private"]


def test_a_foreign_provider_exports_through_it(collector: Any):
    provider = TracerProvider(resource=Resource({"service.name": "foreign"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(collector.url)))
    tracer = provider.get_tracer("lib")
    with tracer.start_as_current_span("parent"):
        tracer.start_span("child").end()
    provider.shutdown()
    assert [span.name for span in collector.spans] == ["child", "parent"]


def test_several_threads_may_export_at_once(collector: Any):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(collector.url)))
    tracer = provider.get_tracer("lib")

    def end_some(thread: int) -> None:
        for number in range(10):
            tracer.start_span(f"{thread}.{number}").end()

    threads = [threading.Thread(target=end_some, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    provider.shutdown()
    assert {span.name for span in collector.spans} == {
        f"{thread}.{number}" for thread in range(4) for number in range(10)
    }


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_collector_gets_the_batch_again(collector: Any, status: int):
    collector.answers = [(status, {})] * 3
    assert OTLPSpanExporter(collector.url).export([ended("kept")]) is SUCCESS
    assert [span.name for span in collector.spans] == ["kept"]


def test_a_collector_that_stays_away_is_given_up_when_the_time_is_out(caplog: pytest.LogCaptureFixture):
    exporter = OTLPSpanExporter("http://127.0.0.1:9/v1/traces", timeout=0.2)
    began = time.monotonic()
    assert exporter.export([ended()]) is FAILURE
    assert time.monotonic() - began < 3.0
    assert "1 spans are lost" in caplog.text


def test_nobody_waits_for_a_try_that_would_come_too_late(collector: Any):
    collector.answers = [(429, {"retry-after": "60"})]
    began = time.monotonic()
    assert OTLPSpanExporter(collector.url, timeout=5).export([ended()]) is FAILURE
    assert time.monotonic() - began < 3.0


def test_a_refusal_is_final(collector: Any):
    collector.answers = [(400, {})]
    assert OTLPSpanExporter(collector.url).export([ended()]) is FAILURE
    assert len(collector.requests) == 1


def test_what_a_collector_refuses_of_a_batch_is_said(collector: Any, caplog: pytest.LogCaptureFixture):
    collector.refuses = 1
    assert OTLPSpanExporter(collector.url).export([ended(), ended()]) is SUCCESS
    assert "refused 1 of 2" in caplog.text


def test_a_span_that_cannot_be_encoded_costs_only_itself(collector: Any):
    broken = ReadableSpan("broken", SpanContext(1, 2, is_remote=False), start_time=-1)
    assert OTLPSpanExporter(collector.url).export([ended("before"), broken, ended("after")]) is SUCCESS
    assert [span.name for span in collector.spans] == ["before", "after"]


def test_a_request_that_is_too_large_is_not_sent(collector: Any):
    assert OTLPSpanExporter(collector.url, max_request_size=100).export([ended(long="x" * 200)]) is FAILURE
    assert OTLPSpanExporter(collector.url, max_request_size=0).export([ended(long="x" * 200)]) is SUCCESS


def test_a_shutdown_ends_the_wait_for_the_next_try(collector: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(otlp_exporter, "FIRST_BACKOFF", 8.0)
    collector.answers = [(503, {})]
    exporter = OTLPSpanExporter(collector.url, timeout=30)
    results: list[SpanExportResult] = []
    thread = threading.Thread(target=lambda: results.append(exporter.export([ended()])))
    thread.start()
    ends = time.monotonic() + 5.0
    while collector.answers and time.monotonic() < ends:
        time.sleep(0.002)
    exporter.shutdown()
    thread.join(5.0)
    assert results == [FAILURE]
    assert exporter.export([ended()]) is FAILURE
    assert exporter.force_flush()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (f"{PREFIX}TIMEOUT", "10s"),
        (f"{PREFIX}TIMEOUT", "0"),
        (f"{PREFIX}COMPRESSION", "zstd"),
        ("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "vault"),
    ],
)
def test_a_variable_that_cannot_be_followed_is_an_error(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name.removeprefix(PREFIX)):
        OTLPSpanExporter()
