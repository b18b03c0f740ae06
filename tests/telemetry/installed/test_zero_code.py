"""Zero code: `opentelemetry-instrument uvicorn app:app`, for applications that know nothing of it."""

import socket
from typing import Any

import pytest

from telemetry import conventions as c
from tests.telemetry.installed.applications import (
    FASTAPI,
    HTTP_ONLY,
    LITESTAR,
    PLAIN,
    PLUGIN,
    STARLETTE,
    STOCK,
    TELEMETRY,
)
from tests.telemetry.installed.arrived import metrics_of


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
