"""Zero code and `OTEL_*` variables, and other distributions beside ours."""

import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telemetry import conventions as c
from tests.telemetry.installed.applications import FASTAPI, HTTP_ONLY, PLAIN, STOCK
from tests.telemetry.installed.arrived import metrics_of, servers


def test_a_disabled_sdk_stops_the_spans_and_nothing_else(run: Any, collector: Any):
    sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with run(PLAIN, OTEL_SDK_DISABLED="true") as process:
        answer = process.get(headers={"traceparent": sent})
        (metrics,) = metrics_of(process)
        process.stop()
    assert collector.requests == []
    assert answer.headers["x-trace-id"] == process.access_lines[0]["trace_id"]
    assert "http_request_duration_seconds_count" in metrics


def test_the_configurator_of_another_distribution_keeps_its_provider(run: Any, collector: Any, eventually_true: Any):
    with run(FASTAPI, **STOCK, **HTTP_ONLY, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="fastapi") as process:
        answer = process.get("/items/7")
        (span,) = eventually_true(lambda: collector.spans, process)
        (metrics,) = metrics_of(process)
    assert (span.name, span.trace_id) == ("GET /items/{item}", answer.headers["x-trace-id"])
    assert process.access_lines[0]["trace_id"] == span.trace_id
    assert "http_request_duration_seconds_count" in metrics
    assert "another tracer provider was there first: its exporters and sampler are used" in process.stdout


@pytest.mark.parametrize(
    ("distro", "configurator", "spans", "ours"),
    [("goshop_telemetry", "configurator", 1, False), ("distro", "goshop_telemetry", 4, True)],
)
def test_a_distro_and_a_configurator_of_two_distributions_go_together(
    run: Any, collector: Any, eventually_true: Any, *, distro: str, configurator: str, spans: int, ours: bool
):
    chosen = {"OTEL_PYTHON_DISTRO": distro, "OTEL_PYTHON_CONFIGURATOR": configurator}
    with run(FASTAPI, **chosen, **HTTP_ONLY) as process:
        answer = process.get("/items/7")
        eventually_true(lambda: len(collector.spans) >= spans, process)
    assert len(collector.spans) == spans
    assert {span.trace_id for span in collector.spans} == {answer.headers["x-trace-id"]}
    assert ("another tracer provider was there first" in process.stdout) is not ours


def test_another_distribution_can_choose_the_fast_exporter(run: Any, collector: Any, eventually_true: Any):
    stock = STOCK | HTTP_ONLY | {"OTEL_TRACES_EXPORTER": "goshop_otlp"}
    with run(PLAIN, **stock) as process:
        process.get()
        (span,) = eventually_true(lambda: collector.spans, process)
    assert span.name == "GET"
    assert collector.requests[0]["user-agent"].startswith("goshop-telemetry")


def test_spans_that_another_distribution_adds_are_announced(run: Any, collector: Any, eventually_true: Any):
    with run(FASTAPI, **STOCK, **HTTP_ONLY) as process:
        answer = process.get("/items/7")
        eventually_true(lambda: servers(collector), process)
    assert len(servers(collector)) == 1
    assert len(collector.spans) > 1
    assert {span.trace_id for span in collector.spans} == {answer.headers["x-trace-id"]}
    (said,) = [text for text in process.messages("goshop_telemetry.uvicorn") if "spans of its own" in text]
    assert "the instrumentation of fastapi" in said
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS" in said


def test_the_resource_is_what_the_variables_say(run: Any, tmp_path: Path):
    path = tmp_path / "spans"
    more = "service.namespace=shop,service.version=7,deployment.environment.name=test"
    with run(PLAIN, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"file:{path}", OTEL_RESOURCE_ATTRIBUTES=more) as process:
        process.get()
        process.stop()
    (spans,) = ExportTraceServiceRequest.FromString(path.read_bytes()[4:]).resource_spans
    attributes = {each.key: each.value.string_value for each in spans.resource.attributes}
    assert {key: attributes[key] for key in sorted(attributes) if not key.startswith("telemetry.")} == {
        "deployment.environment.name": "test",
        "service.instance.id": attributes["service.instance.id"],
        "service.name": "theirs",
        "service.namespace": "shop",
        "service.version": "7",
    }


def test_paths_are_left_out_where_the_variable_says_so(run: Any, collector: Any):
    with run(PLAIN, OTEL_PYTHON_EXCLUDED_URLS="healthz, ^/internal/") as process:
        for path in ("/healthz", "/internal/status", "/public"):
            assert process.get(path).text == "plain"
        process.stop()
    assert [span.attributes[c.URL_PATH] for span in collector.spans] == ["/public"]


def test_a_program_that_starts_uvicorn_keeps_the_logging_that_it_chose(run: Any, collector: Any, eventually_true: Any):
    program = """
import asyncio, uvicorn
plain = {"version": 1, "disable_existing_loggers": False, "handlers": {"err": {"class": "logging.StreamHandler"}},
         "loggers": {"uvicorn": {"handlers": ["err"], "level": "INFO", "propagate": False}}}
uvicorn.run(app, port=0, log_config=plain)
"""
    with run(PLAIN + program, command=("opentelemetry-instrument", sys.executable, "app.py")) as process:
        process.get()
        eventually_true(lambda: collector.spans, process)
    assert "Uvicorn running on" in process.stderr
    assert process.messages("uvicorn.error") == []
    assert len(process.access_lines) == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_PYTHON_LOG_LEVEL", "loud"),
        ("OTEL_TRACES_EXPORTER", "pigeon"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "http"),
        ("OTEL_PYTHON_EXCLUDED_URLS", "("),
    ],
)
def test_a_variable_that_cannot_be_followed_is_said_and_the_application_runs(run: Any, variable: str, value: str):
    with run(PLAIN, **{variable: value}) as process:
        assert process.get().text == "plain"
    assert f"{variable}={value}: expected" in process.stdout + process.stderr


def test_a_bad_port_for_metrics_stops_nobody(run: Any, free: int, eventually_true: Any):
    with run(PLAIN, OTEL_EXPORTER_PROMETHEUS_PORT=str(free)) as first:
        eventually_true(lambda: "metrics are at" in first.stdout, first)
        with run(PLAIN, OTEL_EXPORTER_PROMETHEUS_PORT=str(free)) as second:
            assert second.get().text == "plain"
            assert f"metrics are not served at 127.0.0.1:{free}" in second.stdout


def test_what_is_asked_for_and_not_done_is_said(run: Any):
    ignored = {"OTEL_METRICS_EXPORTER": "otlp,prometheus", "OTEL_LOGS_EXPORTER": "console", "OTEL_CONFIG_FILE": "a"}
    with run(PLAIN, **ignored) as process:
        said = process.messages("goshop_telemetry.distro")
    assert [text.partition(" ")[0] for text in said] == [
        "OTEL_CONFIG_FILE",
        "OTEL_METRICS_EXPORTER=otlp",
        "OTEL_LOGS_EXPORTER=console",
    ]


def test_uvicorn_is_as_it_was_when_the_instrumentation_is_taken_back(start: Any, eventually_true: Any):
    code = """
from uvicorn.config import Config
from uvicorn.server import Server
from uvicorn.protocols.http import h11_impl
places = [(Config, "load"), (Config, "configure_logging"), (Server, "capture_signals")]
places += [(h11_impl.H11Protocol, "send_400_response"), (h11_impl, "service_unavailable")]
before = [vars(owner)[name] for owner, name in places]
from goshop_telemetry.uvicorn import UvicornInstrumentor
instrumentor = UvicornInstrumentor()
for _ in range(2):
    instrumentor.instrument()
    assert not any(vars(owner)[name] is was for (owner, name), was in zip(places, before))
    instrumentor.uninstrument()
    assert all(vars(owner)[name] is was for (owner, name), was in zip(places, before))
"""
    with start({}, sys.executable, "-c", code, address=False) as process:
        assert eventually_true(lambda: process.process.poll() is not None)
    assert (process.process.returncode, process.stderr) == (0, "")
