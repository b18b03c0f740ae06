"""Metrics on a port of their own: answered, and in nobody's way."""

import logging
import socket
import threading
from collections.abc import Iterator
from functools import partialmethod

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.registry import Collector

from telemetry.exporters import ConfigurationError
from telemetry.metrics_server import MetricsAddress, MetricsServer, serve_metrics

PROMETHEUS = {"OTEL_METRICS_EXPORTER": "prometheus"}


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have servers look more often than twice a second whether they are to end."""
    monkeypatch.setattr(MetricsServer, "serve_forever", partialmethod(MetricsServer.serve_forever, 0.01))


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("visits", "Visits.", registry=registry).inc(3)
    return registry


@pytest.fixture
def server(registry: CollectorRegistry) -> Iterator[MetricsServer]:
    server = MetricsServer("127.0.0.1", 0, registry)
    yield server
    server.close()


def url(server: MetricsServer, path: str = "/metrics") -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def test_metrics_are_answered_as_the_scraper_wants_them(server: MetricsServer):
    text = httpx.get(url(server))
    openmetrics = httpx.get(url(server, "/metrics?name=all"), headers={"accept": "application/openmetrics-text"})
    assert text.headers["content-type"].startswith("text/plain")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert "visits_total 3.0" in text.text
    assert openmetrics.text.endswith("# EOF\n")


def test_a_head_request_gets_the_headers_alone(server: MetricsServer):
    answer = httpx.head(url(server))
    assert int(answer.headers["content-length"]) > 0
    assert answer.content == b""


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/secret", 404), ("POST", "/metrics", 501)]
)
def test_nothing_else_is_served(server: MetricsServer, method: str, path: str, status: int):
    assert httpx.request(method, url(server, path)).status_code == status


def test_who_connects_and_says_nothing_keeps_nobody_waiting(server: MetricsServer):
    with socket.create_connection(("127.0.0.1", server.port)):
        assert httpx.get(url(server), timeout=5.0).status_code == 200


def test_a_scrape_that_fails_is_logged_and_the_next_one_is_served(
    server: MetricsServer, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
):
    class Broken(Collector):
        def collect(self) -> list[object]:
            raise RuntimeError("no figures today")

    broken = Broken()
    registry._collector_to_names[broken] = []
    with caplog.at_level(logging.ERROR), pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url(server))
    registry.unregister(broken)
    assert httpx.get(url(server)).status_code == 200
    assert "no figures today" in caplog.text


def test_a_closed_server_leaves_no_thread_and_no_port(registry: CollectorRegistry):
    server = MetricsServer("127.0.0.1", 0, registry)
    server.close()
    assert "telemetry-metrics" not in {thread.name for thread in threading.enumerate()}
    MetricsServer("127.0.0.1", server.port, registry).close()


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, None),
        ({"OTEL_METRICS_EXPORTER": "none"}, None),
        (PROMETHEUS, ("localhost", 9464)),
        ({"OTEL_METRICS_EXPORTER": "otlp, prometheus"}, ("localhost", 9464)),
        ({"OTEL_EXPORTER_PROMETHEUS_PORT": "80"}, ("localhost", 80)),
        (PROMETHEUS | {"OTEL_EXPORTER_PROMETHEUS_HOST": "::1"}, ("::1", 9464)),
    ],
)
def test_the_standard_variables_say_where(environ: dict[str, str], address: tuple[str, int] | None):
    found = MetricsAddress.of(environ)
    assert (found and (found.host, found.port)) == address


@pytest.mark.parametrize("port", ["http", "-1", "65536", "9464 "])
def test_a_port_that_is_none_is_refused(port: str):
    with pytest.raises(ConfigurationError, match="expected a port"):
        MetricsAddress.of({"OTEL_EXPORTER_PROMETHEUS_PORT": port})


def test_workers_share_as_many_ports_as_they_are_and_no_more(
    registry: CollectorRegistry, server: MetricsServer, caplog: pytest.LogCaptureFixture
):
    address = MetricsAddress("127.0.0.1", server.port)
    assert serve_metrics(address, registry) is None
    assert "are not served" in caplog.text
    second = serve_metrics(address, registry, workers=50)
    assert second is not None
    assert server.port < second.port < server.port + 50
    second.close()


def test_a_host_that_nobody_knows_is_logged(registry: CollectorRegistry, caplog: pytest.LogCaptureFixture):
    assert serve_metrics(MetricsAddress("no such host", 0), registry) is None
    assert "no such host" in caplog.text
