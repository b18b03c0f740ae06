"""Metrics on a port of their own, for applications that have no `/metrics`: a thread, since their event loop is theirs.

Started where `OTEL_EXPORTER_PROMETHEUS_PORT` is set or `OTEL_METRICS_EXPORTER` says `prometheus`. Source:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#prometheus-exporter
"""

import logging
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Final, Self

from prometheus_client import CollectorRegistry

from .exporters import ConfigurationError
from .exposition import metrics_response

logger = logging.getLogger(__name__)

PATH: Final = "/metrics"
DEFAULT_HOST: Final = "localhost"
DEFAULT_PORT: Final = "9464"
_HOST: Final = "OTEL_EXPORTER_PROMETHEUS_HOST"
_PORT: Final = "OTEL_EXPORTER_PROMETHEUS_PORT"
_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
HIGHEST_PORT: Final = 65_535


class MetricsServer(ThreadingTCPServer):
    """Answers `GET /metrics` of a registry until `close`; raises `OSError` where the port is taken."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.address_family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        super().__init__(address[:2], _Scrape)  # type: ignore[arg-type] # an IPv4 or IPv6 address
        self._thread = threading.Thread(target=self.serve_forever, name="telemetry-metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """Tell of a scrape that failed; the standard way is a traceback on stderr."""
        logger.error("a scrape by %s failed", client_address, exc_info=sys.exception())


class _Scrape(BaseHTTPRequestHandler):
    server: MetricsServer
    # Who connects and says nothing does not keep a thread for ever.
    timeout = 10

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body, content_type = metrics_response(self.headers.get("accept", ""), self.server.registry)
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: Any) -> None:
        """Say nothing: scrapes are no news."""


@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """Where metrics are asked for; each of several workers takes the first free port from this one on."""

    host: str
    port: int

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self | None:
        """Read the variables; None when they ask for no metrics. Raises `ConfigurationError` for a port that is none."""
        asked = {part.strip() for part in environ.get(_EXPORTER, "").split(",")}
        text = environ.get(_PORT) or (DEFAULT_PORT if "prometheus" in asked else "")
        if not text:
            return None
        if not text.isdecimal() or int(text) > HIGHEST_PORT:
            raise ConfigurationError(f"{_PORT}={text}: expected a port")
        return cls(environ.get(_HOST) or DEFAULT_HOST, int(text))


def serve_metrics(address: MetricsAddress, registry: CollectorRegistry, workers: int = 1) -> MetricsServer | None:
    """Serve the metrics of this process, one of `workers`; where no port is free, that is logged, and None returned."""
    for port in range(address.port, min(address.port + workers, HIGHEST_PORT + 1)):
        try:
            server = MetricsServer(address.host, port, registry)
        except OSError as error:
            reason = error
        else:
            host = f"[{address.host}]" if ":" in address.host else address.host
            logger.info("metrics are at http://%s:%d%s", host, server.port, PATH)
            return server
    logger.error("metrics are not served at %s:%d: %s", address.host, address.port, reason)
    return None
