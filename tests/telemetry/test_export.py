"""The ways out for spans: over HTTP and into a file, as the standard variables say."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from telemetry.exporters import ConfigurationError, HttpExporter, _retry_after, exporter_from
from telemetry.span_queue import QueueLimits, Rejected, Unavailable
from telemetry.tracing import queue_limits
from tests.telemetry.ended_spans import ROOT, ended, export, over_http


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_a_collector_gets_protobuf_with_the_headers_that_were_asked_for(collector: Any, compression: str):
    exporter = over_http(collector, COMPRESSION=compression, HEADERS="x-tenant=shop,authorization=Bearer%20abc")
    assert export(exporter, ended("one", size=1), ended("two")) == 0
    export(exporter, ended("three"))
    exporter.close()
    assert [span.name for span in collector.spans] == ["one", "two", "three"]
    headers = collector.requests[0]
    assert (headers["content-type"], headers["x-tenant"]) == ("application/x-protobuf", "shop")
    assert headers["authorization"] == "Bearer abc"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_some_statuses_ask_to_come_again(collector: Any, status: int):
    collector.answers = [(status, {"retry-after": "7"})]
    with pytest.raises(Unavailable) as caught:
        export(over_http(collector), ended())
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500])
def test_other_statuses_are_final(collector: Any, status: int):
    collector.answers = [(status, {"location": "/elsewhere"})]
    with pytest.raises(Rejected, match=str(status)):
        export(over_http(collector), ended())


def test_a_partial_success_says_how_many_were_refused(collector: Any):
    collector.refuses = 1
    assert export(over_http(collector), ended(), ended()) == 1


def test_a_collector_that_is_away_is_unavailable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        exporter = HttpExporter(f"http://127.0.0.1:{free.getsockname()[1]}/v1/traces", {})
    with pytest.raises(Unavailable):
        export(exporter, ended())


def test_a_collector_that_hangs_is_given_up_after_the_time_out(collector: Any):
    collector.gate.clear()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        export(over_http(collector, TIMEOUT="0.1"), ended())
    assert time.monotonic() - began < 3.0


@contextmanager
def answering(beginning: bytes, more: bytes, pause: float) -> Iterator[tuple[str, list[int]]]:
    """A collector that answers with a beginning and then with more and more; yields its URL and the bytes it got rid of."""
    over, sent = threading.Event(), [0]

    def answer() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(beginning)
            while not over.wait(pause):
                connection.sendall(more)
                sent[0] += len(more)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/v1/traces", sent
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    "beginning", [b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nx-a: ", b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n"]
)
def test_a_collector_that_drips_is_given_up_after_the_time_out(beginning: bytes):
    began = time.monotonic()
    with answering(beginning, b"0", 0.02) as (url, _), pytest.raises(Unavailable):
        HttpExporter(url, {}).export(b"", 0, 0.3)
    assert 0.2 < time.monotonic() - began < 1.5


def test_no_more_of_an_answer_is_read_than_can_be_of_use():
    with (
        answering(b"HTTP/1.1 400 Bad\r\n\r\n", b"x" * 65_536, 0.0) as (url, sent),
        pytest.raises(Rejected, match="400"),
    ):
        HttpExporter(url, {}).export(b"", 0, 5.0)
    # What the buffers of two sockets hold is out of the collector's sight as well.
    assert sent[0] < 16_000_000


def test_a_connection_serves_one_batch_after_the_other(collector: Any):
    exporter = over_http(collector)
    collector.answers = [(503, {}), (200, {}), (400, {})]
    collector.refuses = 1
    for outcome in (Unavailable, None, Rejected, None):
        with pytest.raises(outcome) if outcome else nullcontext():
            export(exporter, ended(), ended())
    assert len(collector.requests) == 4
    assert exporter._connections.connection_from_url(collector.url).num_connections == 1


def test_a_collector_s_certificate_is_checked_against_the_file_that_was_named(tls_collector: Any):
    collector, certificate = tls_collector
    export(over_http(collector, CERTIFICATE=str(certificate)), ended("private"))
    assert [span.name for span in collector.spans] == ["private"]
    with pytest.raises(Unavailable, match="certificate"):
        export(over_http(collector), ended("to a stranger"))


@pytest.mark.parametrize(
    ("value", "seconds"), [("", 0.0), ("12", 12.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", 0.0)]
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float):
    assert _retry_after({"retry-after": value}) == seconds


# --- chosen by the environment ----------------------------------------------------------------------------------------

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({TRACES: "http://a/x"}, "http://a/x"),
        ({ENDPOINT: "http://b:4318/"}, "http://b:4318/v1/traces"),
        ({ENDPOINT: "http://b", TRACES: "http://a/x"}, "http://a/x"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "otlp_proto_http"}, "http://localhost:4318/v1/traces"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp_proto_http", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", TRACES: "http://a"},
            "http://a",
        ),
    ],
)
def test_the_endpoint_comes_from_the_standard_variables(environ: dict[str, str], endpoint: str):
    exporter = exporter_from(environ)
    assert isinstance(exporter, HttpExporter)
    assert exporter._endpoint == endpoint


@pytest.mark.parametrize("environ", [{}, {"OTEL_TRACES_EXPORTER": "none", TRACES: "http://a"}])
def test_without_a_place_to_export_to_nothing_is(environ: dict[str, str]):
    assert exporter_from(environ) is None


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_TRACES_EXPORTER": "jaeger"},
        {TRACES: "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        {TRACES: "http://a", "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"},
        {TRACES: "http://a", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
        {TRACES: "http://a", "OTEL_EXPORTER_OTLP_TIMEOUT": "0"},
        {TRACES: "https://a", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere/ca.pem"},
        {TRACES: "collector:4318"},
        {TRACES: "http://[::1"},
        {TRACES: "http://collector:99999"},
        {TRACES: "http:///v1/traces"},
        {TRACES: "file://[::1"},
        {TRACES: "http://[::1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_what_cannot_be_followed_is_an_error_that_names_the_variable(environ: dict[str, str]):
    with pytest.raises(ConfigurationError, match="OTEL_"):
        exporter_from(environ)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize(
    "endpoint",
    ["http://me:s3cret@a", "me:s3cret@a:4317", "ftp://me:s3cret@a", "http://me:s3cret@[::1", "http://s3/cret@a"],
)
def test_credentials_in_an_address_are_refused_and_repeated_by_nobody(endpoint: str, protocol: str):
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_HEADERS") as caught:
        exporter_from({TRACES: endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol})
    assert "cret" not in str(caught.value)


def test_grpc_may_be_chosen_by_the_exporter_s_name():
    exporter = exporter_from({"OTEL_TRACES_EXPORTER": "otlp_proto_grpc"})
    assert type(exporter).__name__ == "GrpcExporter"
    assert exporter is not None
    exporter.close()


def test_a_file_url_may_be_written_either_way(tmp_path: Path):
    for number, prefix in enumerate(("file:", "file://")):
        path = tmp_path / f"spans {number}.otlp"
        exporter = exporter_from({TRACES: f"{prefix}{str(path).replace(' ', '%20')}"})
        assert exporter is not None
        exporter.close()
        assert path.exists()


def test_the_batch_limits_come_from_the_standard_variables():
    environ = {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_SCHEDULE_DELAY": "250"}
    assert queue_limits(environ) == QueueLimits(spans=10, batch=10, delay=0.25)
    assert queue_limits({}) == QueueLimits()
    with pytest.raises(ConfigurationError, match="OTEL_BSP_MAX_QUEUE_SIZE=0"):
        queue_limits({"OTEL_BSP_MAX_QUEUE_SIZE": "0"})


def test_a_proxy_of_the_environment_is_used(collector: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", collector.url.removesuffix("/v1/traces"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    export(HttpExporter("http://collector.example/v1/traces", {}), ended("far"))
    assert (collector.paths, collector.spans[0].name) == (["http://collector.example/v1/traces"], "far")
    with pytest.raises(Unavailable):
        export(HttpExporter("http://127.0.0.1:9/v1/traces", {}), ended("near"))


LIGHT = """
import sys, telemetry
shop = telemetry.configure("order")
shop.tracer.start_span("one").end()
assert shop.flush()
print([name for name in sys.modules if name.split(".")[0] in {"google", "grpc", "requests"}])
"""


def test_no_protobuf_runtime_is_loaded_to_export(collector: Any):
    environ = os.environ | {TRACES: collector.url}
    done = subprocess.run([sys.executable, "-c", LIGHT], env=environ, cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == b"[]"
    assert [span.name for span in collector.spans] == ["one"]
