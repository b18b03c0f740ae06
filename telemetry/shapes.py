"""What many requests have in common, encoded once: by method, route and outcome, and by who asked over which connection.

Both caches are bounded: what does not fit is made for its request and let go, so that no caller can fill the memory.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from opentelemetry.trace import SpanKind

from . import conventions as c
from . import otlp
from .histogram import LABEL_SETS, Cell
from .http import host_and_port
from .logs import json_text
from .metrics import Metrics
from .recording import Template
from .redaction import redact_text

PEERS: Final = 4_096
# Bytes of what a caller chooses; longer ones are nobody's habit, and not kept.
LONGEST_KEPT: Final = 512
SERVER_ERROR: Final = 500

# Everything that the layer itself says of a request in a span.
STANDARD: Final = frozenset(
    {
        *(c.HTTP_REQUEST_METHOD, c.HTTP_REQUEST_METHOD_ORIGINAL, c.HTTP_ROUTE, c.HTTP_RESPONSE_STATUS_CODE),
        *(c.URL_PATH, c.URL_QUERY, c.URL_SCHEME, c.SERVER_ADDRESS, c.SERVER_PORT, c.CLIENT_ADDRESS),
        *(c.NETWORK_PROTOCOL_VERSION, c.USER_AGENT_ORIGINAL, c.ERROR_TYPE),
    }
)


class Shape:
    """What requests of one method, route, status and error share."""

    __slots__ = (
        "after_ids",
        "after_path",
        "before_path",
        "cell",
        "compiled",
        "end",
        "failed",
        "message_end",
        "template",
    )

    def __init__(self, asked: tuple[str, str], route: str, status: int, error_type: str, *, service: str, cell: Cell) -> None:  # fmt: skip
        known, method = asked
        said = "HTTP" if known is c.OTHER_METHOD else method
        self.failed = bool(error_type)
        self.cell = cell
        # The same as the compiled path wants it, which makes it when it needs it; a peer's likewise.
        self.compiled: object = None
        attributes = {
            c.HTTP_REQUEST_METHOD: known,
            c.HTTP_REQUEST_METHOD_ORIGINAL: method if known is c.OTHER_METHOD else "",
            c.HTTP_ROUTE: route,
            c.HTTP_RESPONSE_STATUS_CODE: status,
            c.ERROR_TYPE: error_type,
        }
        self.template = Template(f"{said} {route}" if route else said, SpanKind.SERVER, present(attributes))
        escaped = json_text(method)
        self.before_path = (
            f'Z","{c.LOG_LEVEL}":"{level(error_type)}","{c.LOG_LOGGER}":"{c.ACCESS_LOGGER}","{c.LOG_MESSAGE}":'
            f"{escaped[:-1]} "
        )
        self.message_end = f' {json_text(str(status or error_type))[1:-1]}","{c.LOG_SERVICE}":{json_text(service)},"{c.LOG_TRACE_ID}":"'
        self.after_ids = f'","{c.LOG_METHOD}":{escaped},"{c.LOG_ENDPOINT}":{json_text(route)},"{c.LOG_PATH}":'
        self.after_path = f',"{c.LOG_STATUS_CODE}":{status or "null"},"{c.LOG_DURATION_MS}":'
        self.end = f',"{c.LOG_ERROR_TYPE}":{json_text(error_type)}' if error_type else ""


class Shapes(dict[tuple[str, str, int, str], Shape]):
    """The shapes by (method, route, status, error type)."""

    def __init__(self, service: str, metrics: Metrics) -> None:
        super().__init__()
        self._service = service
        self._cells = metrics.http_duration

    def make(self, known: str, method: str, route: str, status: int, error_type: str) -> Shape:
        """Make a shape that was not there; it is kept, unless its method is one that a caller made up."""
        cell = self._cells[known, route, str(status or "")]
        shape = Shape((known, method), route, status, error_type, service=self._service, cell=cell)
        if known is not c.OTHER_METHOD:
            if len(self) >= LABEL_SETS:
                forget_half(self)
            self[method, route, status, error_type] = shape
        return shape


class Peer:
    """Who asked, and over which connection: the caller's part of a span and of an access line."""

    __slots__ = ("attributes", "body", "compiled", "line")

    def __init__(self, scope: Mapping[str, Any], host: bytes, agent: bytes) -> None:
        address, port = host_and_port(host.decode("latin-1"), scope.get("server"))
        client = scope.get("client")
        who = str(client[0] or "") if client else ""
        self.attributes = present(
            {
                c.URL_SCHEME: scope.get("scheme") or "http",
                c.SERVER_ADDRESS: address,
                c.SERVER_PORT: port,
                c.CLIENT_ADDRESS: who,
                c.NETWORK_PROTOCOL_VERSION: scope.get("http_version", ""),
                c.USER_AGENT_ORIGINAL: redact_text(agent.decode("latin-1")),
            }
        )
        self.body = otlp.attributes(self.attributes)
        self.compiled: object = None
        self.line = f',"{c.LOG_CLIENT}":{json_text(who)}'


PeerKey = tuple[bytes, bytes, str, str | None, str | None, tuple[Any, ...] | None]


class Peers(dict[PeerKey, Peer]):
    """The peers by Host and User-Agent header, client, scheme, HTTP version, and server where the Host has no port."""

    def of(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Peer:
        """Return the peer of a request."""
        host, agent = headers.get(b"host", b""), headers.get(b"user-agent", b"")
        client = scope.get("client")
        server = None if b":" in host else tuple(scope.get("server") or ())
        key = host, agent, client[0] if client else "", scope.get("scheme"), scope.get("http_version"), server
        return self.get(key) or self._make(key, scope)

    def _make(self, key: PeerKey, scope: Mapping[str, Any]) -> Peer:
        peer = Peer(scope, key[0], key[1])
        if len(key[0]) + len(key[1]) <= LONGEST_KEPT:
            if len(self) >= PEERS:
                forget_half(self)
            self[key] = peer
        return peer


def forget_half(cache: dict[Any, Any]) -> None:
    """Drop the older half of a full cache: dropping all would make its owner start over again and again."""
    for key in list(islice(cache, len(cache) // 2)):
        # Another thread's loop may have dropped it meanwhile.
        cache.pop(key, None)


def present(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that have something to say."""
    return {key: value for key, value in attributes.items() if value}


def level(error_type: str) -> str:
    """Return the level of an access line."""
    if not error_type:
        return "info"
    return "warning" if error_type == c.DISCONNECTED else "error"
