"""Metrics for Prometheus: the text format, or OpenMetrics with exemplars when the scraper asks for it."""

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from . import current

_ALLOWED: Final = frozenset({"GET", "HEAD"})


def metrics_response(accept: str, registry: CollectorRegistry | None = None) -> tuple[bytes, str]:
    """Return the metrics in the format that an `Accept` header asks for, and its content type.

    Without `registry`: the one that the process was configured with.
    """
    encoder, content_type = choose_encoder(accept)
    return encoder(registry or current.registry()), content_type


async def metrics_app(
    scope: MutableMapping[str, Any],
    _receive: Callable[[], Awaitable[Any]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Serve the metrics at whatever path this application is mounted."""
    if scope["type"] != "http":
        return
    if scope["method"] not in _ALLOWED:
        await _answer(send, HTTPStatus.METHOD_NOT_ALLOWED, b"", [(b"allow", b"GET, HEAD")])
        return
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    body, content_type = metrics_response(accept)
    await _answer(send, HTTPStatus.OK, body, [(b"content-type", content_type.encode())])


async def _answer(
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    status: HTTPStatus,
    body: bytes,
    headers: list[tuple[bytes, bytes]],
) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})
