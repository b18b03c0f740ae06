"""Zero code: `opentelemetry-instrument uvicorn app:app` and `OTEL_*` variables, for applications that know nothing of it."""

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telemetry import conventions as c

PLAIN = """
import logging

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    logging.getLogger("theirs").warning("inside")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"plain"})
"""
LITESTAR = """
import logging
from litestar import Litestar, get

@get("/items/{item:int}", sync_to_thread=False)
def read(item: int) -> int:
    logging.getLogger("theirs").warning("inside")
    return item

@get("/broken", sync_to_thread=False)
def broken() -> None:
    raise LookupError("deep inside")

app = Litestar([read, broken])
"""
FASTAPI = """
import logging
from fastapi import FastAPI

app = FastAPI()

@app.get("/items/{item}")
def read(item: int) -> int:
    logging.getLogger("theirs").warning("inside")
    return item

@app.get("/broken")
def broken() -> None:
    raise LookupError("deep inside")
"""
STARLETTE = """
import logging
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

def read(request):
    logging.getLogger("theirs").warning("inside")
    return PlainTextResponse("7")

def broken(request):
    raise LookupError("deep inside")

app = Starlette(routes=[Route("/items/{item}", read), Route("/broken", broken)])
"""
TELEMETRY = "from goshop_telemetry import TelemetryMiddleware, configure\n"
PLUGIN = "from goshop_telemetry.litestar import TelemetryPlugin\n"
UVICORN = ("opentelemetry-instrument", "uvicorn", "app:app", "--port", "0")
# The distro and the configurator of the package opentelemetry-distro, which the environment has as well.
STOCK = {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "configurator"}
HTTP_ONLY = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_METRICS_EXPORTER": "none"}
HTTP_ONLY |= {"OTEL_LOGS_EXPORTER": "none"}


@pytest.fixture
def run(start: Any, collector: Any) -> Any:
    """Start an application under `opentelemetry-instrument`, with a collector and metrics on a free port."""
    environ = {
        "OTEL_SERVICE_NAME": "theirs",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url,
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }

    def started(source: str, *options: str, command: tuple[str, ...] = UVICORN, **more: Any) -> Any:
        return start({"app.py": source}, *command, *options, **(environ | more))

    return started


def metrics_of(process: Any) -> list[str]:
    """Scrape every address that the process has said its metrics are at."""
    found = re.findall(r"metrics are at (\S+/metrics)", process.stdout)
    return [httpx.get(url, headers={"accept": "application/openmetrics-text"}).text for url in found]


def servers(collector: Any) -> list[Any]:
    return [span for span in collector.spans if span.kind == "SERVER"]


@pytest.mark.parametrize(
    "request_of",
    [
        (PLAIN, "/anything", ""),
        (LITESTAR, "/items/7", "/items/{item}"),
        (FASTAPI, "/items/7", "/items/{item}"),
        (STARLETTE, "/items/7", "/items/{item}"),
    ],
    ids=["plain", "Litestar", "FastAPI", "Starlette"],
)
def test_a_request_is_a_span_a_line_and_an_observation(
    run: Any, collector: Any, eventually_true: Any, request_of: tuple[str, str, str]
):
    source, path, endpoint = request_of
    with run(source) as process:
        answer = process.get(path)
        eventually_true(lambda: collector.spans, process)
        (metrics,) = metrics_of(process)
    (span,) = collector.spans
    (line,) = process.access_lines
    (inside,) = [line for line in process.lines if line["logger"] == "theirs"]
    assert answer.headers["x-trace-id"] == span.trace_id == line["trace_id"] == inside["trace_id"]
    assert (span.name, span.service) == (f"GET {endpoint}".rstrip(), "theirs")
    assert (line["endpoint"], line["status_code"], line["service"]) == (endpoint, 200, "theirs")
    counted = f'http_request_duration_seconds_count{{endpoint="{endpoint}",method="GET",status_code="200"}} 1.0'
    assert counted in metrics
    assert f'trace_id="{span.trace_id}"' in metrics


def test_an_application_keeps_metrics_of_its_own_that_have_the_same_names(
    run: Any, collector: Any, eventually_true: Any
):
    theirs = """
from prometheus_client import REGISTRY, Histogram, generate_latest
Histogram("http_request_duration_seconds", "Theirs.", ["handler"]).labels("mine").observe(1)
assert b'handler="mine"' in generate_latest(REGISTRY)
"""
    with run(f"{PLAIN}{theirs}") as process:
        process.get()
        eventually_true(lambda: collector.spans, process)
        (metrics,) = metrics_of(process)
    assert 'http_request_duration_seconds_count{endpoint="",method="GET",status_code="200"} 1.0' in metrics
    assert "process_resident_memory_bytes" in metrics
    assert 'handler="mine"' not in metrics


def test_what_is_no_http_is_counted(run: Any, collector: Any):
    with run(PLAIN) as process:
        with socket.create_connection(("127.0.0.1", process.port)) as client:
            client.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
        process.get()
        (metrics,) = metrics_of(process)
        process.stop()
    assert 'http_requests_refused_total{reason="malformed"} 1.0' in metrics
    # Nobody knows what it was: it is no request in the other metric, and no span.
    assert 'http_request_duration_seconds_count{endpoint="",method="GET",status_code="200"} 1.0' in metrics
    assert len(collector.spans) == 1


@pytest.mark.parametrize("source", [LITESTAR, FASTAPI, STARLETTE], ids=["Litestar", "FastAPI", "Starlette"])
def test_a_defect_is_named_by_its_own_type(run: Any, collector: Any, eventually_true: Any, source: str):
    with run(source) as process:
        assert process.get("/broken").status_code == 500
        (span,) = eventually_true(lambda: collector.spans, process)
    assert (span.attributes[c.ERROR_TYPE], span.status) == ("LookupError", "ERROR")
    assert process.access_lines[-1]["error_type"] == "LookupError"


@pytest.mark.parametrize("environ", [{}, STOCK | HTTP_ONLY], ids=["fast spans", "spans of the SDK"])
def test_who_a_trusted_proxy_speaks_for_is_the_client(
    run: Any, collector: Any, eventually_true: Any, environ: dict[str, str]
):
    with run(PLAIN, **environ) as process:
        process.get(headers={"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"})
        (span,) = eventually_true(lambda: collector.spans, process)
    assert span.attributes[c.CLIENT_ADDRESS] == process.access_lines[0]["client"] == "192.0.2.7"
    assert span.attributes[c.URL_SCHEME] == "https"


@pytest.mark.parametrize(
    "source",
    [
        f"{TELEMETRY}{PLAIN}\napp = TelemetryMiddleware(app, configure('own'))",
        f"{TELEMETRY}{PLUGIN}{LITESTAR}\napp = Litestar([read], plugins=[TelemetryPlugin(configure('own'))])",
    ],
    ids=["middleware", "Litestar"],
)
def test_a_layer_that_is_there_already_is_used(run: Any, collector: Any, eventually_true: Any, source: str):
    with run(source) as process:
        process.get("/items/7")
        eventually_true(lambda: collector.spans, process)
    assert len(collector.spans) == 1
    assert [line["service"] for line in process.access_lines] == ["own"]
    assert "the application has a telemetry layer of its own, which is used" in process.stdout


@pytest.mark.parametrize(
    "source",
    [
        f"{PLAIN}\nlayer = TelemetryMiddleware(app, configure('own'))\nasync def app(*message): await layer(*message)",
        f"{FASTAPI}\napp.add_middleware(TelemetryMiddleware, telemetry=configure('own'))",
        f"{STARLETTE}\napp.add_middleware(TelemetryMiddleware, telemetry=configure('own'))",
    ],
    ids=["plain", "FastAPI", "Starlette"],
)
def test_a_layer_that_cannot_be_seen_is_passed_through(run: Any, collector: Any, eventually_true: Any, source: str):
    with run(f"{TELEMETRY}{source}") as process:
        process.get("/items/7")
        eventually_true(lambda: collector.spans, process)
    assert (len(collector.spans), len(process.access_lines)) == (1, 1)


FACTORY = """
def make():
    return app
"""
OLD_STYLE = """
class Old:
    def __init__(self, scope):
        self.scope = scope

    async def __call__(self, receive, send):
        await app(self.scope, receive, send)
"""
WSGI = """
def old(environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"plain"]
"""


@pytest.mark.parametrize(
    ("source", "options"),
    [(FACTORY, ("--factory", "app:make")), (OLD_STYLE, ("app:Old",)), (WSGI, ("--interface", "wsgi", "app:old"))],
    ids=["factory", "ASGI 2", "WSGI"],
)
def test_whatever_uvicorn_can_load_has_the_layer(
    run: Any, collector: Any, eventually_true: Any, source: str, options: tuple[str, ...]
):
    command = ("opentelemetry-instrument", "uvicorn", "--port", "0", *options)
    with run(PLAIN + source, command=command) as process:
        answer = process.get()
        (span,) = eventually_true(lambda: collector.spans, process)
    assert answer.text == "plain"
    assert answer.headers["x-trace-id"] == span.trace_id == process.access_lines[0]["trace_id"]


def test_an_application_that_fails_to_start_says_why_as_a_line(run: Any):
    failing = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database is gone"})
"""
    with run(failing, address=False) as process:
        assert process.process.wait(20) == 3
    assert [line for line in process.lines if line["level"] == "error" and "the database is gone" in line["message"]]


@pytest.mark.parametrize(
    ("source", "environ"),
    [
        (PLAIN, {}),
        (f"{TELEMETRY}{PLAIN}\napp = TelemetryMiddleware(app, configure('own'))", {}),
        (PLAIN, STOCK | HTTP_ONLY),
    ],
    ids=["nothing else", "a configuration of the application's", "another distribution"],
)
def test_a_stop_exports_and_writes_everything_first(run: Any, collector: Any, source: str, environ: dict[str, str]):
    with run(source, OTEL_BSP_SCHEDULE_DELAY="60000", **environ) as process:
        for _ in range(20):
            process.get()
        assert process.stop() == -signal.SIGTERM
    assert len(collector.spans) == len(process.access_lines) == 20
    assert process.lines[-1]["message"].startswith("Finished server process")


def test_a_stop_waits_five_seconds_for_a_silent_collector_and_says_what_was_not_exported(run: Any):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        # It has a lifespan, at whose end the layer waits for the first time.
        with run(FASTAPI, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=url) as process:
            process.get("/items/7")
            began = time.monotonic()
            process.stop()
            took = time.monotonic() - began
    assert 4.0 < took < 7.0
    assert "1 spans were not exported before the end" in process.messages("goshop_telemetry.uvicorn")


def test_each_worker_has_telemetry_and_a_port_for_its_metrics(
    run: Any, collector: Any, eventually_true: Any, free: int
):
    with run(PLAIN, "--workers", "2", OTEL_EXPORTER_PROMETHEUS_PORT=str(free)) as process:
        eventually_true(lambda: process.stdout.count("Application startup complete") == 2, process)
        with httpx.Client() as busy, httpx.Client() as other:
            for client in (busy, other) * 10:
                client.get(f"http://127.0.0.1:{process.port}/")
        scraped = metrics_of(process)
        process.stop()
    counts = [re.findall(r"^http_request_duration_seconds_count\S* (\d+)", text, re.MULTILINE) for text in scraped]
    assert len(scraped) == 2
    assert sum(int(count) for found in counts for count in found) == 20
    assert len(servers(collector)) == len(process.access_lines) == 20


def test_a_reloaded_application_has_telemetry_again(run: Any, collector: Any, eventually_true: Any, tmp_path: Path):
    with run(PLAIN, "--reload", "--reload-delay", "0.05") as process:
        process.get()
        changed = tmp_path / "work" / "app.py"
        changed.write_text(PLAIN.replace("plain", "changed"))
        os.utime(changed, (2_000_000_000, 2_000_000_000))
        eventually_true(lambda: process.stdout.count("Application startup complete") == 2, process)
        assert process.get().text == "changed"
        process.stop()
    assert len(collector.spans) == len(process.access_lines) == 2


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


def test_a_server_that_ends_leaves_the_telemetry_to_the_next_one(run: Any, collector: Any):
    program = """
import asyncio, httpx, uvicorn
async def once():
    server = uvicorn.Server(uvicorn.Config(app, port=0))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{port}/")
    server.should_exit = True
    await serving
asyncio.run(once())
asyncio.run(once())
"""
    with run(PLAIN + program, command=("opentelemetry-instrument", sys.executable, "app.py"), address=False) as process:
        assert process.process.wait(20) == 0
    assert len(collector.spans) == len(process.access_lines) == 2
