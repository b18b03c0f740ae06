"""What an HTTP request and its answer say: routes, methods, hosts, and the headers that carry the trace id back."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from . import conventions as c

# RFC 9110, PATCH (RFC 5789) and QUERY; https://opentelemetry.io/docs/specs/semconv/http/http-spans/
KNOWN_METHODS: Final = "CONNECT,DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT,QUERY,TRACE"
# Of a port: more are none, and too many of them no number that Python reads.
PORT_DIGITS: Final = 5
DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_TRACE_HEADERS: Final = (c.TRACE_RESPONSE_HEADER.encode(), c.TRACE_ID_HEADER.encode())
_EXPOSE: Final = b"access-control-expose-headers"
_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
_NOTABLE: Final = frozenset({*_TRACE_HEADERS, _EXPOSE, _ALLOW_ORIGIN})

RawHeader = Sequence[bytes]


def known_methods(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the methods that keep their names; `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` replaces the usual ones."""
    names = environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS") or KNOWN_METHODS
    return frozenset(name.strip() for name in names.split(",") if name.strip())


def route_of(scope: Mapping[str, Any]) -> str:
    """Return the template of the route that matched, as Litestar, FastAPI or Starlette know it; "" when none did."""
    template = scope.get("path_template")
    if template is not None:
        return template or _mount(scope)
    context = (scope.get("fastapi") or {}).get("effective_route_context")
    # The route's own path lacks the prefixes of the routers around it.
    path = getattr(context, "path", None) or getattr(scope.get("route"), "path", "")
    path = path if isinstance(path, str) else ""
    return _below_mounts(scope, path) if "app_root_path" in scope else path


def _below_mounts(scope: Mapping[str, Any], path: str) -> str:
    """Return a template of Starlette's with the mounts above it, of which the scope has only the path that they matched."""
    # A mount's own path is there as well; https://github.com/encode/starlette: `Mount.matches`
    inner = "" if hasattr(scope.get("route"), "routes") else path
    segments: list[str] = scope["root_path"].removeprefix(scope["app_root_path"]).split("/")
    end = len(segments)
    # The last parameter first, each as far right as it can be: a value may be the same text as a segment before it.
    for name, value in reversed(scope.get("path_params", {}).items()):
        if f"{{{name}}}" in inner or f"{{{name}:" in inner:
            continue
        matched = str(value).split("/")
        starts = [i for i in range(1, end - len(matched) + 1) if segments[i : i + len(matched)] == matched]
        if not starts:
            return inner
        end = starts[-1]
        segments[end : end + len(matched)] = [f"{{{name}}}"]
    return "/".join(segments) + inner


def _mount(scope: Mapping[str, Any]) -> str:
    paths = getattr(scope.get("route_handler"), "paths", None)
    return min(paths) if paths else c.UNMATCHED_ENDPOINT


def host_and_port(host: str, server: Sequence[Any] | None) -> tuple[str, int]:
    """Split a Host header; the port is the socket's when the header has none, 0 when nobody knows."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal() and len(port) <= PORT_DIGITS and not name.endswith(":"):
        return name.strip("[]"), int(port)
    # A server's port may be a string (granian), or None for a Unix socket.
    own = str(server[1]) if server and len(server) > 1 else ""
    return host.strip("[]") or (str(server[0]) if server else ""), int(own) if own.isdecimal() else 0


def with_list_of_headers(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its headers as a list: ASGI has any iterable, which may be read only once."""
    return {**message, "headers": list(message.get("headers", ()))}


def with_trace_headers(headers: Sequence[RawHeader], traceresponse: str, trace_id: str) -> list[RawHeader]:
    """Return an answer's headers with the trace's, readable by scripts of other origins where any header is.

    Trace headers that are there already (a proxied answer's) give way: the client asked this process.
    """
    kept: list[RawHeader] = []
    for header in headers:
        if header[0].lower() in _NOTABLE:
            kept = _without_trace_headers(headers)
            break
        kept.append(header)
    kept.append((_TRACE_HEADERS[0], traceresponse.encode()))
    kept.append((_TRACE_HEADERS[1], trace_id.encode()))
    return kept


def _without_trace_headers(headers: Iterable[RawHeader]) -> list[RawHeader]:
    """Return an answer's other headers, with the trace's own exposed where any header is."""
    kept: list[RawHeader] = []
    exposed: list[bytes] = []
    cross_origin = False
    for header in headers:
        name = header[0].lower()
        if name == _EXPOSE:
            exposed.append(header[1])
        elif name not in _TRACE_HEADERS:
            cross_origin |= name == _ALLOW_ORIGIN
            kept.append(header)
    if cross_origin:
        exposed.extend(_TRACE_HEADERS)
    if exposed:
        kept.append((_EXPOSE, b", ".join(exposed)))
    return kept


def upgraded(scope: Mapping[str, Any]) -> tuple[str, int]:
    """Return the method of a WebSocket's handshake and the status of an accepted one (RFC 6455, RFC 8441); ASGI has neither."""
    return ("GET", 101) if str(scope.get("http_version", "1.1")).startswith("1") else ("CONNECT", 200)


def problem_of_defect(trace_id: str, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield the answer to a request whose handler failed before it answered (RFC 9457); `prefix` is of the messages' types."""
    problem = {"type": "about:blank", "title": "Internal Server Error", "status": 500, c.LOG_TRACE_ID: trace_id}
    body = json.dumps(problem).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    yield {"type": f"{prefix}http.response.start", "status": 500, "headers": headers}
    yield {"type": f"{prefix}http.response.body", "body": body}
