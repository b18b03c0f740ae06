"""The way out over gRPC, to a real server: what it takes, refuses, and asks for."""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from telemetry import conventions as c
from telemetry.exporters import exporter_from
from telemetry.grpc_exporter import RETRY_INFO, GrpcExporter
from telemetry.span_queue import Rejected, Unavailable
from telemetry.spans import decode
from tests.telemetry.ended_spans import Make, balance, ended, export, wait

Failure = tuple[grpc.StatusCode, tuple[tuple[str, bytes], ...]]


class GrpcCollector(TraceServiceServicer):
    """A collector on loopback; `failures` are for the next calls, afterwards all is well."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.metadata: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.refuses = 0
        self.start(0)

    def start(self, port: int) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        add_TraceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def Export(self, request: ExportTraceServiceRequest, context: grpc.ServicerContext) -> ExportTraceServiceResponse:  # noqa: N802 - the service's name
        self.metadata.append(dict(context.invocation_metadata()))
        if self.failures:
            code, trailing = self.failures.pop(0)
            context.set_trailing_metadata(trailing)
            context.abort(code, "as told")
        self.names += [span.name for span in decode(request.SerializeToString())]
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = self.refuses
        return answer


@pytest.fixture
def server() -> Iterator[GrpcCollector]:
    collector = GrpcCollector()
    yield collector
    collector.stop()


@pytest.fixture
def exporter(server: GrpcCollector, monkeypatch: pytest.MonkeyPatch) -> Iterator[GrpcExporter]:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=shop",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    made = exporter_from()
    assert isinstance(made, GrpcExporter)
    yield made
    made.close()


def test_a_collector_gets_the_spans_with_the_headers_that_were_asked_for(exporter: GrpcExporter, server: GrpcCollector):
    assert export(exporter, ended("one"), ended("two")) == 0
    assert server.names == ["one", "two"]
    assert server.metadata[0]["x-tenant"] == "shop"


def test_a_partial_success_says_how_many_were_refused(exporter: GrpcExporter, server: GrpcCollector):
    server.refuses = 1
    assert export(exporter, ended(), ended()) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_some_codes_ask_to_come_again(exporter: GrpcExporter, server: GrpcCollector, code: grpc.StatusCode):
    server.failures = [(code, ())]
    with pytest.raises(Unavailable, match=code.name):
        export(exporter, ended())
    assert export(exporter, ended("again")) == 0


def test_a_collector_may_say_when_to_come_again(exporter: GrpcExporter, server: GrpcCollector):
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(7_500)
    server.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, ((RETRY_INFO, retry.SerializeToString()),))]
    with pytest.raises(Unavailable) as caught:
        export(exporter, ended())
    assert caught.value.retry_after == 7.5


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAUTHENTICATED])
def test_other_codes_are_final(exporter: GrpcExporter, server: GrpcCollector, code: grpc.StatusCode):
    server.failures = [(code, ())]
    with pytest.raises(Rejected, match=code.name):
        export(exporter, ended())


def test_a_message_that_is_too_large_for_a_collector_is_not_sent_again(exporter: GrpcExporter):
    """gRPC says RESOURCE_EXHAUSTED of it; only a collector that names a delay is out of what it will have again."""
    with pytest.raises(Rejected, match="larger than max"):
        export(exporter, ended(big="x" * 5_000_000))


def test_a_collector_that_comes_back_gets_what_was_kept(make: Make, exporter: GrpcExporter, server: GrpcCollector):
    server.stop()
    queue, counts = make(exporter, spans=20, batch=5)
    for number in range(30):
        queue.put(*ended(f"span {number}"))
    assert (counts.dropped[c.DROP_FULL], queue.queued) == (10, 20)
    server.start(server.port)
    wait(lambda: counts.exported == 20)
    assert server.names == [f"span {number}" for number in range(20)]
    assert balance(queue, counts)
