"""Where spans go: a collector over OTLP/HTTP or OTLP/gRPC, or a file; chosen by the standard `OTEL_*` variables.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import contextlib
import gzip
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.util.re import parse_env_headers

from .span_queue import Exporter, Rejected, Unavailable
from .spans import LENGTH_BYTES, read_batches

if TYPE_CHECKING:
    import urllib3

PREFIX: Final = "OTEL_EXPORTER_OTLP_"
DEFAULT_ENDPOINT: Final = "http://localhost:4318"
# https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
RETRYABLE: Final = frozenset({429, 502, 503, 504})
_OK: Final = range(200, 300)
_COMPRESS: Final[Mapping[str, Callable[[bytes], bytes]]] = {"gzip": gzip.compress, "deflate": zlib.compress}


class ConfigurationError(ValueError):
    """An `OTEL_*` variable has a value that cannot be followed; the message names the variable."""


def setting(name: str, default: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """Return a setting of the exporter: the one for traces, else the one for all signals."""
    return environ.get(f"{PREFIX}TRACES_{name}") or environ.get(PREFIX + name) or default


def exporter_from(environ: Mapping[str, str] = os.environ) -> Exporter | None:
    """Make the exporter that the environment asks for; None when it names no place to export to.

    Unlike the SDK's default, spans are sent to `http://localhost:4318` only when `OTEL_TRACES_EXPORTER=otlp` says so.
    Raises `ConfigurationError`, and `OSError` when a `file:` cannot be opened.
    """
    kind = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if kind not in {"", "otlp", "none"}:
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER={kind}: expected otlp or none")
    if kind == "none" or not (endpoint := _endpoint(environ, wanted=kind == "otlp")):
        return None
    if endpoint.startswith("file:"):
        return FileExporter(Path(unquote(urlsplit(endpoint).path)))
    protocol = setting("PROTOCOL", "http/protobuf", environ)
    if protocol == "grpc":
        return GrpcExporter()
    if protocol != "http/protobuf":
        raise ConfigurationError(f"{PREFIX}PROTOCOL={protocol}: expected http/protobuf or grpc")
    return HttpExporter(endpoint, environ)


def _endpoint(environ: Mapping[str, str], *, wanted: bool) -> str:
    if endpoint := environ.get(f"{PREFIX}TRACES_ENDPOINT"):
        return endpoint
    base = environ.get(f"{PREFIX}ENDPOINT") or (DEFAULT_ENDPOINT if wanted else "")
    return base if not base or base.startswith("file:") else f"{base.rstrip('/')}/v1/traces"


class FileExporter:
    """Appends batches to a file, each in one write: whoever kills the process tears at most the last one."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        _cut_torn_batch(path)

    def export(self, spans: Sequence[ReadableSpan], timeout: float) -> int:  # noqa: ARG002 - a local disk
        """Append the batch; raises `Unavailable` when the disk is full."""
        body = encode_spans(spans).SerializeToString()
        frame = len(body).to_bytes(LENGTH_BYTES, "big") + body
        size = os.fstat(self._descriptor).st_size
        try:
            _write(self._descriptor, frame)
        except OSError as error:
            os.ftruncate(self._descriptor, size)
            raise Unavailable(f"the span file cannot be written: {error.strerror}") from None
        return 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _cut_torn_batch(path: Path) -> None:
    """Remove what a killed predecessor left unfinished: behind it no reader would find the next batch."""
    with path.open("r+b") as file:
        for _ in read_batches(file):
            pass
        file.truncate()


class HttpExporter:
    """Posts batches to a collector (OTLP over HTTP, protobuf) over one kept connection."""

    def __init__(self, endpoint: str, environ: Mapping[str, str] = os.environ) -> None:
        self._endpoint = endpoint
        compression = setting("COMPRESSION", "none", environ).strip().lower()
        if compression not in {"none", *_COMPRESS}:
            raise ConfigurationError(f"{PREFIX}COMPRESSION={compression}: expected none, gzip or deflate")
        self._compress = _COMPRESS.get(compression)
        self._headers = {"content-type": "application/x-protobuf", "user-agent": "goshop-telemetry"}
        self._headers |= parse_env_headers(setting("HEADERS", environ=environ), liberal=True)
        if self._compress:
            self._headers["content-encoding"] = compression
        self._timeout = _seconds(environ)
        self._environ = environ
        self._process = 0

    def export(self, spans: Sequence[ReadableSpan], timeout: float) -> int:
        """Post the batch; see `Exporter`."""
        import urllib3  # noqa: PLC0415 - 60 ms that only this exporter needs

        body = encode_spans(spans).SerializeToString()
        if self._process != os.getpid():
            # A forked child must not write into its parent's connection.
            self._process, self._connections = os.getpid(), _connections(self._environ)
        try:
            answer = self._connections.request(
                "POST",
                self._endpoint,
                body=self._compress(body) if self._compress else body,
                headers=self._headers,
                timeout=urllib3.Timeout(total=min(timeout, self._timeout)),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"{self._endpoint}: {error}") from None
        return self._judge(answer)

    def _judge(self, answer: "urllib3.BaseHTTPResponse") -> int:
        if answer.status in RETRYABLE:
            raise Unavailable(f"{self._endpoint} answers {answer.status}", _retry_after(answer.headers))
        if answer.status not in _OK:
            raise Rejected(f"{self._endpoint} answers {answer.status}: {answer.data[:200]!r}")
        return _refused(answer.data, answer.headers.get("content-type", ""))

    def close(self) -> None:
        """Close the connection."""
        if self._process:
            self._connections.clear()


def _seconds(environ: Mapping[str, str]) -> float:
    """Return the time-out; in seconds, as every Python SDK reads the variable."""
    text = setting("TIMEOUT", "10", environ)
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{PREFIX}TIMEOUT={text}: expected seconds") from None


def _connections(environ: Mapping[str, str]) -> "urllib3.PoolManager":
    import urllib3  # noqa: PLC0415 - see HttpExporter.export

    return urllib3.PoolManager(
        num_pools=1,
        maxsize=1,
        ca_certs=setting("CERTIFICATE", environ=environ) or None,
        cert_file=setting("CLIENT_CERTIFICATE", environ=environ) or None,
        key_file=setting("CLIENT_KEY", environ=environ) or None,
    )


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that the other side asked for (RFC 9110, section 10.2.3), 0 when it did not."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    with contextlib.suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    return 0.0


def _refused(body: bytes, content_type: str) -> int:
    """Return how many spans of an accepted batch were refused (OTLP's partial success)."""
    if "protobuf" not in content_type or not body:
        return 0
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse  # noqa: PLC0415 - most answers are empty

    return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)


class GrpcExporter:
    """The official OTLP/gRPC exporter, which reads its own variables and retries by itself until its time-out."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - 387 ms that only this protocol needs

        self._exporter = OTLPSpanExporter()

    def export(self, spans: Sequence[ReadableSpan], timeout: float) -> int:  # noqa: ARG002 - it has its own
        """Send the batch; what it gave up is rejected, since it does not say why."""
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415 - see above

        if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise Rejected("the OTLP/gRPC exporter gave a batch up")
        return 0

    def close(self) -> None:
        """Close the channel."""
        self._exporter.shutdown()
