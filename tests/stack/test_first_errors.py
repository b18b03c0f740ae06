"""A series that begins with its first errors, as Prometheus sees it: what `increase` cannot know, and what would tell it.

docs/slo.md has it among what the rules cannot know; rules/first-errors.yaml shows what becomes of the alerts.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from tests.stack.prometheus import eventually

ERRORS = 5
COUNTED = "sum(increase(requests_total{status_code='500'}[1m]))"


@pytest.fixture
def requests() -> Iterator[tuple[Counter, str]]:
    """A counter by status, and the configuration that has it scraped each second."""
    registry = CollectorRegistry()
    counter = Counter("requests", "Requests.", ["status_code"], registry=registry)

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = generate_latest(registry)
            self.send_response(200)
            self.send_header("content-type", CONTENT_TYPE_LATEST)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        target = {"static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}], "job_name": "service"}
        yield (
            counter,
            json.dumps({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [target]}),
        )
        server.shutdown()


def after_the_first_errors(server, counter):
    """Let a service that is scraped already answer with errors all at once; return what is counted two scrapes later."""
    counter.labels("200").inc()
    eventually(lambda: server.value("requests_total{status_code='200'}"), 20, "the service is scraped")
    counter.labels("500").inc(ERRORS)
    seen = "count_over_time(requests_total{status_code='500'}[1m]) >= 3"
    eventually(lambda: server.query(seen), 20, "the errors are scraped three times")
    return server.value(COUNTED)


def test_errors_before_the_first_scrape_of_their_series_are_lost(start_prometheus, requests):
    counter, config = requests
    assert after_the_first_errors(start_prometheus(config), counter) == 0


def test_a_series_that_was_there_at_0_has_all_of_them(start_prometheus, requests):
    counter, config = requests
    counter.labels("500")
    assert after_the_first_errors(start_prometheus(config), counter) == pytest.approx(ERRORS, rel=0.3)


def test_so_has_one_that_says_when_it_began_where_prometheus_is_told_to_look(start_prometheus, requests):
    counter, config = requests
    server = start_prometheus(config, flags=["--enable-feature=created-timestamp-zero-ingestion"])
    assert after_the_first_errors(server, counter) == pytest.approx(ERRORS, rel=0.3)
