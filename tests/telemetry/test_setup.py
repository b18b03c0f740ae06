"""One call sets a process up, and the standard variables change what they are there to change."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry, Histogram

import telemetry
from telemetry import conventions as c
from telemetry.exporters import ConfigurationError
from telemetry.spans import read_spans
from telemetry.testing import LogLines, capture_logs, capture_spans, fresh_telemetry

ROOT = Path(__file__).parents[2]

REQUEST = """
import asyncio, logging, sys, telemetry
from opentelemetry import trace
from telemetry.exposition import metrics_response
TRACE = "0af7651916cd43dd8448eb211c80319c"

async def app(scope, receive, send):
    logging.warning("inside")
    with trace.get_tracer("theirs").start_as_current_span("inner"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})

async def main():
    shop = telemetry.configure("gateway", environment="staging", version="1.2", level="warning", namespace="goshop")
    layer = telemetry.TelemetryMiddleware(app, shop)
    headers = [(b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())] if "traced" in sys.argv else []
    async def send(message):
        if message["type"] == "http.response.start":
            print(dict(message["headers"])[b"traceresponse"].decode(), file=sys.stderr)
    await layer({"type": "http", "method": "GET", "path": "/", "headers": headers}, None, send)
    shop.shutdown()
    print(metrics_response("")[0].decode(), file=sys.stderr)

asyncio.run(main())
"""


def run(path: Path, *arguments: str, **environ: str) -> tuple[list[Any], list[dict[str, Any]], str]:
    """Serve one request in a process of its own; returns its spans, its log lines and its metrics."""
    environment = os.environ | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"file:{path}"} | environ
    command = [sys.executable, "-W", "error", "-c", REQUEST, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    spans = list(read_spans(path)) if path.exists() else []
    return spans, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_a_configured_process_exports_logs_and_counts(tmp_path: Path):
    spans, lines, metrics = run(tmp_path / "spans")
    assert [(span.name, span.service) for span in spans] == [("inner", "gateway"), ("GET", "gateway")]
    assert [(line[c.LOG_LOGGER], line[c.LOG_SERVICE]) for line in lines] == [("root", "gateway"), ("access", "gateway")]
    assert {line[c.LOG_TRACE_ID] for line in lines} == {spans[0].trace_id} == {spans[1].trace_id}
    assert "telemetry_spans_ended_total 2.0" in metrics
    assert "telemetry_spans_exported_total 2.0" in metrics


def test_a_disabled_sdk_makes_no_spans_and_keeps_propagation_logs_and_metrics(tmp_path: Path):
    spans, lines, metrics = run(tmp_path / "spans", "traced", OTEL_SDK_DISABLED="true")
    assert spans == []
    assert {line[c.LOG_TRACE_ID] for line in lines} == {"0af7651916cd43dd8448eb211c80319c"}
    assert metrics.startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert 'http_request_duration_seconds_count{endpoint="",method="GET",status_code="200"} 1.0' in metrics
    assert "telemetry_spans_ended_total 0.0" in metrics


def test_a_disabled_sdk_still_gives_every_request_a_trace_id(tmp_path: Path):
    _, lines, metrics = run(tmp_path / "spans", OTEL_SDK_DISABLED="true")
    assert {line[c.LOG_TRACE_FLAGS] for line in lines} == {"00"}
    assert len({line[c.LOG_TRACE_ID] for line in lines}) == 1
    assert metrics.startswith(f"00-{lines[0][c.LOG_TRACE_ID]}-")


@pytest.mark.parametrize(
    ("sampler", "argument", "traced", "sampled"),
    [
        ("always_off", "", [], False),
        ("always_off", "", ["traced"], False),
        ("parentbased_always_off", "", [], False),
        ("parentbased_always_off", "", ["traced"], True),
        ("traceidratio", "0.0", [], False),
        ("always_on", "", [], True),
    ],
)
def test_the_sampler_is_chosen_by_the_standard_variable(
    tmp_path: Path, sampler: str, argument: str, traced: list[str], *, sampled: bool
):
    spans, lines, _ = run(tmp_path / "s", *traced, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
    assert len(spans) == (2 if sampled else 0)
    assert {int(line[c.LOG_TRACE_FLAGS], 16) & 1 for line in lines} == {int(sampled)}


def test_the_resource_takes_what_the_standard_variables_add(tmp_path: Path):
    path = tmp_path / "spans"
    run(path, OTEL_SERVICE_NAME="my-edge", OTEL_RESOURCE_ATTRIBUTES="team=shop,service.version=9")
    request = ExportTraceServiceRequest.FromString(path.read_bytes()[4:])
    attributes = {a.key: a.value.string_value for a in request.resource_spans[0].resource.attributes}
    assert attributes[c.SERVICE_NAME] == "my-edge"
    assert (attributes["team"], attributes[c.SERVICE_VERSION]) == ("shop", "9")
    assert (attributes[c.SERVICE_NAMESPACE], attributes[c.DEPLOYMENT_ENVIRONMENT_NAME]) == ("goshop", "staging")
    assert attributes[c.SERVICE_INSTANCE_ID]
    assert request.resource_spans[0].scope_spans[1].schema_url == c.SCHEMA_URL


def test_other_propagators_can_be_chosen(tmp_path: Path):
    spans, _, _ = run(tmp_path / "spans", "traced", OTEL_PROPAGATORS="none")
    assert spans[-1].parent_id == ""


def test_a_process_exports_at_its_end_without_being_told_to(tmp_path: Path):
    code = "import telemetry; telemetry.configure('a').tracer.start_span('last').end()"
    environ = os.environ | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"file:{tmp_path / 'spans'}"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environ, check=True)
    assert [span.name for span in read_spans(tmp_path / "spans")] == ["last"]


def test_a_provider_that_was_there_first_is_used_and_said():
    code = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(mine := TracerProvider())
import telemetry
shop = telemetry.configure("a")
assert trace.get_tracer_provider() is mine
assert shop.tracer.start_span("x").is_recording()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "was there first" in json.loads(done.stdout)[c.LOG_MESSAGE]


def test_spans_go_over_grpc_where_the_protocol_says_so():
    code = """
import grpc, os
from concurrent import futures
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb, trace_service_pb2_grpc as rpc
taken = []
class Collector(rpc.TraceServiceServicer):
    def Export(self, request, context):
        taken.extend(span.name for r in request.resource_spans for s in r.scope_spans for span in s.spans)
        return pb.ExportTraceServiceResponse()
server = grpc.server(futures.ThreadPoolExecutor(2))
rpc.add_TraceServiceServicer_to_server(Collector(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
os.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
import telemetry
shop = telemetry.configure("a")
shop.tracer.start_span("over grpc").end()
shop.shutdown()
assert taken == ["over grpc"], taken
assert shop.metrics.spans.exported == 1
server.stop(0)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_dead_collector_does_not_keep_a_process_alive():
    code = "import telemetry; t = telemetry.configure('a'); t.tracer.start_span('x').end(); t.shutdown(timeout=0.3)"
    environ = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert time.monotonic() - began < 8.0
    assert "1 spans were not exported" in done.stdout


def test_the_second_configuration_takes_the_place_of_the_first():
    first, first_logs = fresh_telemetry("first")
    second, second_logs = fresh_telemetry("second")
    logging.getLogger("test").warning("once")
    with capture_spans() as spans:
        first.tracer.start_span("x").end()
    assert ([line[c.LOG_SERVICE] for line in second_logs.lines], first_logs.lines) == (["second"], [])
    assert [span.service for span in spans] == ["second"]
    second.shutdown()


TWICE = """
import sys, telemetry, threading
first = telemetry.configure("first")
for _ in range(3):
    first.tracer.start_span("x").end()
second = telemetry.configure("second")
counts = second.metrics.spans
assert counts.ended == counts.exported + sum(counts.dropped.values()) + second.queued
second.tracer.start_span("y").end()
assert second.flush()
assert [t.name for t in threading.enumerate()].count("telemetry-export") == 1
first.shutdown()
second.shutdown()
assert counts is first.metrics.spans
print(counts.ended, counts.exported, counts.dropped, first.queued, second.queued)
"""


def test_two_configurations_keep_one_set_of_books(tmp_path: Path):
    environ = os.environ | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"file:{tmp_path / 'spans'}"}
    command = [sys.executable, "-c", TWICE]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.stdout == "4 4 {'full': 0, 'rejected': 0, 'shutdown': 0} 0 0\n", done.stderr
    assert [(span.name, span.service) for span in read_spans(tmp_path / "spans")] == [
        *[("x", "first")] * 3,
        ("y", "second"),
    ]


def test_a_metric_of_the_same_name_is_an_error_that_says_what_to_do():
    registry = CollectorRegistry()
    Histogram("http_request_duration_seconds", "Theirs.", registry=registry)
    with pytest.raises(ConfigurationError, match=r"registry=CollectorRegistry\(\).*http_request_duration_seconds"):
        telemetry.configure("a", registry=registry)


def test_a_shutdown_keeps_its_bound_when_neither_the_collector_nor_the_reader_of_the_log_is_there():
    code = """
import logging, time, telemetry
shop = telemetry.configure("a")
shop.tracer.start_span("x").end()
for _ in range(200):
    logging.warning("x" * 1_000)
began = time.monotonic()
shop.shutdown(1.0)
print(time.monotonic() - began, file=__import__("sys").stderr, flush=True)
__import__("os")._exit(0)
"""
    environ = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    reading, writing = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environ,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=True,
        timeout=30,
    )
    os.close(reading)
    os.close(writing)
    assert 0.9 < float(done.stderr) < 1.4


def test_uvicorn_s_own_lines_become_ours_and_its_access_lines_go():
    theirs = logging.StreamHandler(sys.stdout)
    for name in ("uvicorn", "uvicorn.access"):
        logging.getLogger(name).addHandler(theirs)
        logging.getLogger(name).propagate = False
    # Servers of other tests in this process may have been told to be quiet.
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)
    _, logs = fresh_telemetry()
    logging.getLogger("uvicorn.error").info("started", extra={"color_message": "\x1b[1mstarted"})
    logging.getLogger("uvicorn.access").info("GET / 200")
    (line,) = logs.lines
    assert (line[c.LOG_LOGGER], line[c.LOG_MESSAGE]) == ("uvicorn.error", "started")
    assert "color_message" not in line


def test_the_level_holds_back_what_is_less_severe():
    logs = LogLines()
    fresh_telemetry(level="error", stream=logs)
    logging.getLogger("test").warning("held back")
    logging.getLogger("test").error("said")
    assert [line[c.LOG_MESSAGE] for line in logs.lines] == ["said"]


def test_captured_logs_and_spans_are_those_of_the_block():
    shop, _ = fresh_telemetry()
    logger = logging.getLogger("test")
    with capture_spans() as spans, capture_logs() as lines, shop.tracer.start_as_current_span("inside"):
        logger.debug("inside")
    shop.tracer.start_span("outside").end()
    logger.warning("outside")
    assert [span.name for span in spans] == ["inside"]
    assert [(line[c.LOG_MESSAGE], line[c.LOG_TRACE_ID]) for line in lines] == [("inside", spans[0].trace_id)]


def test_the_package_exports_what_it_says():
    assert telemetry.__all__ == ["Telemetry", "TelemetryMiddleware", "configure"]
    assert all(hasattr(telemetry, name) for name in telemetry.__all__)
    assert not trace.get_current_span().is_recording()
