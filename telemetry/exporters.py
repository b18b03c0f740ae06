"""Where spans go: a collector over OTLP/HTTP or OTLP/gRPC, or a file; chosen by the standard `OTEL_*` variables.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import contextlib
import logging
import os
import threading
import zlib
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from math import inf
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from opentelemetry.util.re import parse_env_headers

from .file_exporter import FileExporter
from .span_queue import Exporter, Rejected, Unavailable

if TYPE_CHECKING:
    import urllib3

logger = logging.getLogger(__name__)

# The names that `opentelemetry-instrument` knows exporters by.
_PROTOCOLS: Final = {"otlp_proto_http": "http/protobuf", "otlp_proto_grpc": "grpc"}
PREFIX: Final = "OTEL_EXPORTER_OTLP_"
DEFAULT_ENDPOINT: Final = "http://localhost:4318"
# https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
RETRYABLE: Final = frozenset({429, 502, 503, 504})
# Bytes; what a collector says of a batch is some words at most.
LARGEST_ANSWER: Final = 64 * 1024
_OK: Final = range(200, 300)
# The fastest level: spans repeat themselves, so that the slowest one saves a tenth for five times the time. 31 is gzip.
_COMPRESS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": partial(zlib.compress, level=1, wbits=31),
    "deflate": partial(zlib.compress, level=1),
}


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
    if kind not in {"", "none", "otlp", *_PROTOCOLS}:
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER={kind}: expected none, otlp or {' or '.join(_PROTOCOLS)}")
    if kind == "none" or not (endpoint := _endpoint(environ, wanted=kind != "")):
        return None
    _check_address(endpoint)
    if endpoint.startswith("file:"):
        return FileExporter(Path(unquote(urlsplit(endpoint).path)))
    protocol = _PROTOCOLS.get(kind) or setting("PROTOCOL", "http/protobuf", environ)
    if protocol == "grpc":
        from .grpc_exporter import GrpcExporter  # noqa: PLC0415 - 387 ms that only this protocol needs

        return GrpcExporter()
    if protocol != "http/protobuf":
        raise ConfigurationError(f"{PREFIX}PROTOCOL={protocol}: expected http/protobuf or grpc")
    return HttpExporter(endpoint, environ)


def _endpoint(environ: Mapping[str, str], *, wanted: bool) -> str:
    named = environ.get(f"{PREFIX}TRACES_ENDPOINT") or environ.get(f"{PREFIX}ENDPOINT") or ""
    if named.startswith("file:"):
        return named
    return http_endpoint(environ) if named or wanted else ""


def http_endpoint(environ: Mapping[str, str] = os.environ) -> str:
    """Return the URL that traces are posted to, the default one when the environment names none."""
    if endpoint := environ.get(f"{PREFIX}TRACES_ENDPOINT"):
        return endpoint
    return f"{(environ.get(f'{PREFIX}ENDPOINT') or DEFAULT_ENDPOINT).rstrip('/')}/v1/traces"


class HttpExporter:
    """Posts batches to a collector (OTLP over HTTP, protobuf) over kept connections; may be shared by threads.

    `headers` are added to those of the environment. Proxies are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`).
    """

    def __init__(
        self, endpoint: str, environ: Mapping[str, str] = os.environ, headers: Mapping[str, str] | None = None
    ) -> None:
        self._endpoint = endpoint
        _check(endpoint, environ)
        compression = setting("COMPRESSION", "none", environ).strip().lower()
        if compression not in {"none", *_COMPRESS}:
            raise ConfigurationError(f"{PREFIX}COMPRESSION={compression}: expected none, gzip or deflate")
        self._compress = _COMPRESS.get(compression)
        self._headers = {"content-type": "application/x-protobuf", "user-agent": "goshop-telemetry"}
        self._headers |= parse_env_headers(setting("HEADERS", environ=environ), liberal=True)
        self._headers |= {name.lower(): value for name, value in (headers or {}).items()}
        if self._compress:
            self._headers["content-encoding"] = compression
        self.timeout = _seconds(environ)
        self._environ = environ
        self._process = 0
        self._lock = threading.Lock()

    def export(self, body: bytes, spans: int, timeout: float) -> int:  # noqa: ARG002 - the answer counts them
        """Post the batch; see `Exporter`."""
        import urllib3  # noqa: PLC0415 - 60 ms that only this exporter needs

        try:
            answer = self._connected().request(
                "POST",
                self._endpoint,
                body=self._compress(body) if self._compress else body,
                headers=self._headers,
                timeout=urllib3.Timeout(total=min(timeout, self.timeout)),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                content = answer.read(LARGEST_ANSWER)
            finally:
                # Ends a connection that has more to say; one that has not is kept already.
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"{self._endpoint}: {error}") from None
        return self._judge(answer, content)

    def _connected(self) -> "urllib3.PoolManager":
        """Return this process's connections: a forked child must not write into its parent's."""
        with self._lock:
            if self._process != os.getpid():
                self._process, self._connections = os.getpid(), _connections(self._endpoint, self._environ)
            return self._connections

    def _judge(self, answer: "urllib3.BaseHTTPResponse", content: bytes) -> int:
        if answer.status in RETRYABLE:
            raise Unavailable(f"{self._endpoint} answers {answer.status}", _retry_after(answer.headers))
        if answer.status not in _OK:
            raise Rejected(f"{self._endpoint} answers {answer.status}: {content[:200]!r}")
        return _refused(content, answer.headers.get("content-type", ""))

    def close(self) -> None:
        """Close the connections."""
        if self._process:
            self._connections.clear()


def _check(endpoint: str, environ: Mapping[str, str]) -> None:
    """Find at the start what would fail with every batch."""
    _check_address(endpoint)
    address = urlsplit(endpoint)
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise ConfigurationError(f"{PREFIX}ENDPOINT={endpoint}: expected a URL with http, https or file")
    for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
        if (path := setting(name, environ=environ)) and not Path(path).is_file():
            raise ConfigurationError(f"{PREFIX}{name}={path}: there is no such file")


def _check_address(endpoint: str) -> None:
    """Refuse what is no address, and credentials in one: nobody is sent them, and messages that name it are logged."""
    if "@" in endpoint and not endpoint.startswith("file:"):
        raise ConfigurationError(
            f"{PREFIX}ENDPOINT holds an @: give credentials in {PREFIX}HEADERS, which no message repeats"
        )
    try:
        # A port is only looked at when it is asked for.
        _ = urlsplit(endpoint).port
    except ValueError as error:
        raise ConfigurationError(f"{PREFIX}ENDPOINT={endpoint}: {error}") from None


def _seconds(environ: Mapping[str, str]) -> float:
    """Return the time-out; in seconds, as every Python SDK reads the variable."""
    text = setting("TIMEOUT", "10", environ)
    with contextlib.suppress(ValueError):
        if 0 < (seconds := float(text)) < inf:
            return seconds
    raise ConfigurationError(f"{PREFIX}TIMEOUT={text}: expected seconds above 0")


def _connections(endpoint: str, environ: Mapping[str, str]) -> "urllib3.PoolManager":
    from .connections import connections  # noqa: PLC0415 - see HttpExporter.export

    return connections(
        _proxy(endpoint),
        num_pools=1,
        maxsize=1,
        ca_certs=setting("CERTIFICATE", environ=environ) or None,
        cert_file=setting("CLIENT_CERTIFICATE", environ=environ) or None,
        key_file=setting("CLIENT_KEY", environ=environ) or None,
    )


def _proxy(endpoint: str) -> str:
    """Return the URL of the proxy that the environment names for an endpoint, "" for none."""
    url = urlsplit(endpoint)
    return "" if proxy_bypass(url.netloc) else getproxies().get(url.scheme, "")


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

    try:
        return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
    except Exception:  # noqa: BLE001 - protobuf's own, whose name would have to be imported from it
        # Its status says that it took them.
        logger.warning("the collector took a batch and answered what is no OTLP: %r", body[:200])
        return 0
