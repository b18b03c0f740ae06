"""A real Jaeger that takes spans by OTLP and keeps them in memory: the trace store of the tests, as Tempo is the stack's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from goshop.ports import LOOPBACK, reserve
from tests.stack.backend import Backend

# Older traces make room for newer ones.
MOST_TRACES: Final = 20_000
_OTHER_PORTS: Final = (
    "collector.otlp.grpc.host-port",
    "collector.grpc-server.host-port",
    "collector.http-server.host-port",
    "query.grpc-server.host-port",
    "http-server.host-port",
    "processor.jaeger-binary.server-host-port",
    "processor.jaeger-compact.server-host-port",
    "processor.zipkin-compact.server-host-port",
)


class Jaeger(Backend):
    """A Jaeger: `url` is where it answers queries, `otlp_url` where it takes spans (http/protobuf, without a path)."""

    otlp_url: str = ""
    admin_url: str = ""

    @property
    def traces_endpoint(self) -> str:
        """What OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set to."""
        return f"{self.otlp_url}/v1/traces"

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """Return the spans of a trace in Jaeger's own form, with `service` beside them; none of one that it does not know."""
        answer = self.get(f"/api/traces/{trace_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        [trace] = answer.raise_for_status().json()["data"]
        processes = trace["processes"]
        return [span | {"service": processes[span["processID"]]["serviceName"]} for span in trace["spans"]]

    def _is_ready(self) -> bool:
        # The query's server answers before the collector's does.
        try:
            return httpx.get(f"{self.admin_url}/", timeout=5.0, trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@contextmanager
def running(command: Path, folder: Path) -> Iterator[Jaeger]:
    """Run a Jaeger with an empty store; raises `StartError`. Main thread only."""
    folder.mkdir(parents=True)
    with reserve(3 + len(_OTHER_PORTS)) as [query, otlp, admin, *others]:
        arguments: list[str | Path] = [
            command,
            f"--memory.max-traces={MOST_TRACES}",
            "--log-level=warn",
            f"--query.http-server.host-port={LOOPBACK}:{query}",
            f"--collector.otlp.http.host-port={LOOPBACK}:{otlp}",
            f"--admin.http.host-port={LOOPBACK}:{admin}",
            *(f"--{flag}={LOOPBACK}:{port}" for flag, port in zip(_OTHER_PORTS, others, strict=True)),
        ]
        server = Jaeger("jaeger", arguments, folder, f"http://{LOOPBACK}:{query}")
        server.otlp_url, server.admin_url = f"http://{LOOPBACK}:{otlp}", f"http://{LOOPBACK}:{admin}"
        try:
            server.start()
            yield server
        finally:
            server.kill()
