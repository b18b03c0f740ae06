"""The application that is served: routes that end in different ways, and what the process says of itself."""

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from litestar import Litestar, asgi, get
from litestar.background_tasks import BackgroundTask
from litestar.response import Response, Stream

from telemetry import Telemetry, TelemetryMiddleware, configure
from telemetry.exposition import metrics_app, metrics_response
from telemetry.litestar import TelemetryPlugin

BOOKS: Final = "SOAK_BOOKS"
ITEM: Final = {"id": 7, "name": "Left-handed screwdriver", "price": 12.5, "tags": ["tools", "blue"], "in_stock": True}
PIECES: Final = 5
PIECE: Final = b"x" * 100


class Broken(Exception):
    """What the failing route fails with."""


@get("/plain/{item_id:int}")
async def plain(item_id: int) -> dict[str, Any]:
    """Answer at once."""
    return {**ITEM, "id": item_id}


@get("/streamed")
async def streamed() -> Stream:
    """Answer in pieces."""
    return Stream(_pieces())


async def _pieces() -> AsyncIterator[bytes]:
    for _ in range(PIECES):
        await asyncio.sleep(0)
        yield PIECE


@get("/failing")
async def failing() -> None:
    """Fail."""
    raise Broken("on purpose")


def _background(telemetry: Telemetry) -> Any:
    async def afterwards() -> None:
        with telemetry.tracer.start_as_current_span("afterwards"):
            await asyncio.sleep(0)

    @get("/background")
    async def background() -> Response[dict[str, Any]]:
        """Answer, and do something with a span of its own afterwards."""
        return Response(ITEM, background=BackgroundTask(afterwards))

    return background


def create() -> Callable[..., Any]:
    """Make the application for uvicorn; `SOAK_BOOKS` names the file that its last metrics go to."""
    telemetry = configure("soak", environment="bench")

    @asgi("/metrics", copy_scope=False)
    async def metrics(scope: Any, receive: Any, send: Any) -> None:
        await metrics_app(scope, receive, send)

    @get("/facts")
    async def facts() -> dict[str, int]:
        return _facts(layer)

    inner: Any = Litestar(
        [plain, streamed, failing, _background(telemetry), metrics, facts],
        on_shutdown=[telemetry.shutdown, _close_the_books],
        plugins=[TelemetryPlugin(telemetry)],
        openapi_config=None,
        logging_config=None,
    )
    layer = TelemetryMiddleware(inner, telemetry, exclude=("/metrics", "/facts"))
    return layer


def _close_the_books() -> None:
    Path(os.environ[BOOKS]).write_bytes(metrics_response("")[0])


def _facts(layer: TelemetryMiddleware) -> dict[str, int]:
    """Return how much is alive, without what only waits to be collected."""
    gc.collect()
    return {
        "objects": len(gc.get_objects()),
        "threads": threading.active_count(),
        "peers": len(layer.peers),
        "shapes": len(layer.shapes),
    }
