"""Real sockets: an application under uvicorn, and a collector that answers as it is told."""

import asyncio
import gzip
import importlib.util
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from prometheus_client import CollectorRegistry

from telemetry import Telemetry, TelemetryMiddleware, compiled, span_queue
from telemetry import conventions as c
from telemetry.metrics import SpanCounts
from telemetry.request import SlottedRequest
from telemetry.span_queue import QueueLimits, SpanQueue
from telemetry.spans import SpanRecord, decode
from telemetry.testing import LogLines, capture_spans, fresh_telemetry
from tests.telemetry.ended_spans import Make

ROOT = Path(__file__).parents[2]
PATIENCE = 10.0
# A client that makes a context of its own reads every authority of the machine first: 40 ms a test.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture(scope="session")
def hotpath(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The compiled request path, as `make compiled` builds it; it lies elsewhere, so that nothing else takes it."""
    command = [sys.executable, str(ROOT / "scripts" / "build_extension.py"), str(tmp_path_factory.mktemp("hotpath"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stderr.startswith("NOT COMPILED"):
        pytest.skip(f"NOT RUN, the compiled request path: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    spec = importlib.util.spec_from_file_location("telemetry._hotpath", done.stdout.strip())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["pure Python", "compiled"])
def build(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have a module's tests run on both implementations of the request path."""
    pure = request.param == "pure Python"
    kind = SlottedRequest if pure else compiled.compiled_request(request.getfixturevalue("hotpath"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "Request", kind)
        yield request.param


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Requests with a span of the SDK's have no compiled path: once is enough."""
    items[:] = [item for item in items if not _is_compiled_sdk(getattr(item, "callspec", None))]


def _is_compiled_sdk(callspec: Any) -> bool:
    if callspec is None or callspec.params.get("build") != "compiled":
        return False
    return any(callspec.params.get(name) for name in ("obstacle", "served"))


class QuietServer(uvicorn.Server):
    """Leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class World:
    """What a served application leaves behind."""

    port: int
    client: httpx.AsyncClient
    telemetry: Telemetry
    registry: CollectorRegistry
    spans: list[SpanRecord]
    logs: LogLines
    server: uvicorn.Server
    seen: list[Any] = field(default_factory=list)

    async def get(self, path: str = "/", **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)

    @property
    def access_lines(self) -> list[dict[str, Any]]:
        return [line for line in self.logs.lines if line[c.LOG_LOGGER] == c.ACCESS_LOGGER]

    @property
    def observations(self) -> dict[tuple[str, ...], float]:
        """How often each label set was observed."""
        samples = self.telemetry.metrics.http_duration.metric.collect()[0].samples
        return {
            tuple(s.labels[name] for name in c.HTTP_LABELS): s.value
            for s in samples
            if s.name.endswith("_count") and s.value
        }

    def counted(self, status: int, endpoint: str = "/here") -> float | None:
        """What is exported of an endpoint's GET requests of a status, None where there is no such series."""
        values = dict(zip(c.HTTP_LABELS, ("GET", endpoint, str(status)), strict=True))
        return self.registry.get_sample_value(f"{c.HTTP_REQUEST_DURATION}_count", values)

    async def told(self, count: int = 1) -> tuple[SpanRecord, dict[str, Any]]:
        """Wait until requests are told of, check that each is once, and return the last one's span and access line."""
        await until(lambda: len(self.access_lines) >= count)
        assert len(self.access_lines) == count
        spans = [span for span in self.spans if span.kind == "SERVER"]
        assert len(spans) == count
        assert sum(self.observations.values()) == count
        return spans[-1], self.access_lines[-1]


async def until(condition: Callable[[], Any]) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, "the condition has not become true"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def serve(
    app: Any,
    *,
    wrap: bool = True,
    lifespan: bool = False,
    layer: dict[str, Any] | None = None,
    obstacle: str = "",
    **options: Any,
) -> AsyncIterator[World]:
    registry = CollectorRegistry()
    telemetry, logs = fresh_telemetry(registry=registry, **options)
    if obstacle:  # then every span is the SDK's
        telemetry.recorder.obstacle = obstacle
    inner = app(telemetry) if getattr(app, "wants_telemetry", False) else app
    outer = TelemetryMiddleware(inner, telemetry, **(layer or {})) if wrap else inner
    with socket.create_server(("127.0.0.1", 0)) as sock, capture_spans() as spans:
        config = uvicorn.Config(
            outer, lifespan="on" if lifespan else "off", log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
        server = QuietServer(config)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        await until(lambda: server.started or task.done())
        port = sock.getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=NO_TLS) as client:
            yield World(port, client, telemetry, registry, spans, logs, server)
        server.should_exit = True
        await task
    telemetry.shutdown()


@pytest.fixture
def served() -> Callable[..., Any]:
    """Serve an ASGI application under the layer: `async with served(app, **configure_options) as world`."""
    return serve


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return until


class PatientServer(ThreadingHTTPServer):
    """Says nothing of clients that gave up: some tests are about them."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Collector:
    """An OTLP/HTTP collector on loopback; `answers` are statuses for the next requests, afterwards all is well.

    `says` replaces the content of its answers.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.scheme = "https" if tls else "http"
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.requests: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.spans: list[SpanRecord] = []
        self.refuses = 0
        self.says: bytes | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._server = PatientServer(("127.0.0.1", port), self._handler())
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._server.server_address[1]}/v1/traces"

    def stop(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(headers)
        self.gate.wait(PATIENCE)
        status, extra = self.answers.pop(0) if self.answers else (200, {})
        if status != 200:
            return status, extra, b""
        coding = headers.get("content-encoding", "")
        body = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(coding, bytes)(body)
        self.bodies.append(body)
        self.spans += decode(body)
        response = ExportTraceServiceResponse()
        if self.refuses:
            response.partial_success.rejected_spans = self.refuses
        says = response.SerializeToString() if self.says is None else self.says
        return 200, {"content-type": "application/x-protobuf"}, says

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                collector.paths.append(self.path)
                status, extra, answer = collector.take(headers, body)
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def tls_collector(tmp_path: Path) -> Iterator[tuple[Collector, Path]]:
    """A collector with a certificate of its own making, and the file that vouches for it."""
    certificate = tmp_path / "collector.pem"
    certificate.write_bytes(_self_signed())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    collector = Collector(context)
    yield collector, certificate
    collector.stop()


def _self_signed() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "collector")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(pem)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="session")
def collector_type() -> type[Collector]:
    """Hand out the class, to tests that Hypothesis runs many times."""
    return Collector


@pytest.fixture
def collector_at() -> Iterator[Callable[[int], Collector]]:
    """Start a collector on a given port, the second time in its life perhaps."""
    started: list[Collector] = []

    def start(port: int) -> Collector:
        started.append(Collector(port=port))
        return started[-1]

    yield start
    for collector in started:
        collector.stop()


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(span_queue, "FIRST_BACKOFF", 0.001)
    queues: list[SpanQueue] = []

    def new(exporter: Any, **limits: Any) -> tuple[SpanQueue, SpanCounts]:
        counts = SpanCounts()
        queue = SpanQueue(exporter, counts, QueueLimits(**{"delay": 0.01, **limits}))
        queues.append(queue)
        return queue, counts

    yield new
    for queue in queues:
        queue.close(1.0)
