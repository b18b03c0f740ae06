"""The collector of the benchmark: takes OTLP over HTTP in a process of its own, and counts what arrived.

`POST` takes an export request; `GET` answers the counts and what a SERVER span of the last request says.
"""

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.telemetry.wire import spans_in

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
POLL = 0.02


class Tally:
    """What arrived so far.

    Bodies are kept and read only when somebody asks: the sink shares a CPU with the load generator, whose latencies would
    be those of the sink.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unread: deque[bytes] = deque()
        self._spans = 0
        self._bytes = 0
        self._traces: set[bytes] = set()
        self._last = b""

    def take(self, body: bytes) -> None:
        """Take an export request."""
        self._unread.append(body)

    def _read(self) -> None:
        while self._unread:
            self._last = self._unread.popleft()
            traces = list(spans_in(self._last))
            self._spans += len(traces)
            self._bytes += len(self._last)
            self._traces.update(traces)

    def told(self) -> dict[str, Any]:
        """Return the counts and the attributes."""
        with self._lock:
            self._read()
            return {
                "spans": self._spans,
                "traces": len(self._traces),
                "bytes": self._bytes,
                "attributes": server_attributes(self._last),
            }


def server_attributes(body: bytes) -> list[str]:
    """Return the names of the attributes of an export request's first SERVER span."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415 - 0.1 s
    from opentelemetry.proto.trace.v1.trace_pb2 import Span  # noqa: PLC0415 - as above

    request = ExportTraceServiceRequest.FromString(body)
    scopes = (scope for resource in request.resource_spans for scope in resource.scope_spans)
    servers = (span for scope in scopes for span in scope.spans if span.kind == Span.SPAN_KIND_SERVER)
    first = next(servers, Span())
    return sorted(attribute.key for attribute in first.attributes)


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for a tally."""

    protocol_version = "HTTP/1.1"
    tally: Tally

    def do_POST(self) -> None:
        """Take an export request."""
        self.tally.take(self.rfile.read(int(self.headers["content-length"])))
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        """Answer what arrived."""
        self._answer(json.dumps(self.tally.told()).encode(), "application/json")

    def _answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class MissingSpans(Exception):
    """Spans did not arrive in time."""


@dataclass(frozen=True)
class Sink:
    """A running sink, seen from the process that started it."""

    url: str

    def told(self) -> dict[str, Any]:
        """Ask what arrived."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            return dict(json.loads(connection.getresponse().read()))

    def wait(self, spans: int) -> None:
        """Wait until as many spans arrived; raises `MissingSpans`."""
        limit = time.monotonic() + PATIENCE
        while (arrived := self.told()["spans"]) < spans:
            if time.monotonic() > limit:
                raise MissingSpans(f"{spans - arrived} of {spans} spans did not arrive within {PATIENCE:.0f} s")
            time.sleep(POLL)


@contextlib.contextmanager
def running() -> Iterator[Sink]:
    """Run a sink."""
    command = [sys.executable, "-m", "benchmarks.telemetry.sink"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - asked for above
            yield Sink(process.stdout.readline().strip())
        finally:
            process.terminate()


def serve() -> None:
    """Take export requests on a free port, whose address is printed first."""
    handler = type("BoundHandler", (Handler,), {"tally": Tally()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/v1/traces", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve()
