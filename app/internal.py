"""What each service serves inside the platform only: `/health` (it runs), `/ready` (it can work), `/metrics`."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Litestar, Request, Response, get

from telemetry.exposition import scrape

Readiness = Callable[[], Awaitable[dict[str, str]]]


def internal_app(ready: Readiness) -> Litestar:
    """Make the internal application; `ready` names what is wrong."""

    @get("/health", sync_to_thread=False)
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @get("/ready")
    async def readiness() -> Response[dict[str, Any]]:
        problems = await ready()
        return Response(
            {"status": "unavailable" if problems else "ok", "problems": problems}, status_code=503 if problems else 200
        )

    @get("/metrics")
    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        body, content_type = await scrape(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return Litestar([health, readiness, metrics], openapi_config=None, logging_config=None)
