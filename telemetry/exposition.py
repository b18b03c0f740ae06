"""Metrics for Prometheus: the text format, or OpenMetrics with exemplars when the scraper asks for it.

Histograms of this package are rendered from cached text, everything else in the registry by prometheus-client, family by
family in the registry's order. The answer is what the client's own renderer says of the same registry.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import ALLOWUTF8, UNDERSCORES
from prometheus_client.registry import Collector

from . import current
from .histogram import HotFamily

_ALLOWED: Final = frozenset({"GET", "HEAD"})
_OPENMETRICS: Final = "application/openmetrics-text"
_END: Final = b"# EOF\n"
# These leave our names as they are; whoever asks for another escaping gets it from the client.
_PLAIN: Final = frozenset({ALLOWUTF8, UNDERSCORES})

Encoder = Callable[[Collector], bytes]


def metrics_response(accept: str, registry: CollectorRegistry | None = None) -> tuple[bytes, str]:
    """Return the metrics in the format that an `Accept` header asks for, and its content type.

    Without `registry`: the one that the process was configured with. Takes some milliseconds for a thousand label sets;
    in an event loop `scrape` does the same in pieces.
    """
    encoder, content_type = choose_encoder(accept)
    return b"".join(_pieces(encoder, content_type, registry or current.registry())), content_type


async def scrape(accept: str, registry: CollectorRegistry | None = None) -> tuple[bytes, str]:
    """Return what `metrics_response` does; others may use the event loop between two pieces of a millisecond at most.

    A family that is not ours is a piece of its own, and takes as long as prometheus-client needs for it.
    """
    encoder, content_type = choose_encoder(accept)
    pieces = []
    for piece in _pieces(encoder, content_type, registry or current.registry()):
        pieces.append(piece)
        await asyncio.sleep(0)
    return b"".join(pieces), content_type


class _One(Collector):
    """A registry with a single family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> list[Metric]:
        """Return the family."""
        return [self._family]


def _pieces(encoder: Encoder, content_type: str, registry: CollectorRegistry) -> Iterator[bytes]:
    openmetrics = content_type.startswith(_OPENMETRICS)
    # `choose_encoder` returns a function, or a partial that says how to escape.
    ours = getattr(encoder, "keywords", {}).get("escaping", UNDERSCORES) in _PLAIN
    for family in registry.collect():
        if ours and isinstance(family, HotFamily):
            for piece in family.histogram.render(openmetrics=openmetrics):
                yield piece.encode()
        else:
            yield encoder(_One(family)).removesuffix(_END)
    if openmetrics:
        yield _END


async def metrics_app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Any]],  # noqa: ARG001 - ASGI's name, and Litestar looks at names
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Serve the metrics at whatever path this application is mounted."""
    if scope["type"] != "http":
        return
    if scope["method"] not in _ALLOWED:
        await _answer(send, HTTPStatus.METHOD_NOT_ALLOWED, b"", [(b"allow", b"GET, HEAD")])
        return
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    body, content_type = await scrape(accept)
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
