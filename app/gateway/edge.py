"""The public application: its routes, what they pass on the way, and how it is put together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from litestar import Litestar, Response, get
from litestar.datastructures import State

from app import problems
from app.gateway import orders, payments, products, users
from app.gateway.authentication import Authenticator
from app.gateway.backends import Backends
from app.gateway.bodies import StrictBody
from app.gateway.client_address import ClientAddress
from app.gateway.documentation import describe
from app.gateway.key_cache import KeyCache
from app.gateway.login_throttle import LoginThrottle
from app.gateway.middleware import Admission, SecurityHeaders
from app.gateway.rate_limit import TokenBuckets
from app.rpc.user.v1.user_pb2 import GetJwksRequest
from app.service import Resources, create_service
from telemetry.litestar import TelemetryPlugin

BODY_BYTES: Final = 64 << 10
ROUTES: Final = (*users.ROUTES, *products.ROUTES, *orders.ROUTES, *payments.ROUTES)


def edge(resources: Resources) -> ClientAddress:
    """Make the public application of a gateway."""
    settings = resources.settings
    services = Backends.of(resources.peers, settings.deadlines.rpc)
    keys = KeyCache(lambda: _fetch_keys(services))
    admission = Admission(
        Authenticator(settings.auth, keys),
        TokenBuckets(settings.rate_limit, resources.redis),
        settings.deadlines.edge,
        settings.http.body_timeout,
    )
    application = Litestar(
        [*ROUTES, *([_documentation()] if settings.docs else [])],
        dto=StrictBody,
        return_dto=None,
        middleware=[admission],
        exception_handlers=problems.HANDLERS,
        request_max_body_size=BODY_BYTES,
        state=State({"backends": services, "logins": LoginThrottle(settings.rate_limit, resources.redis)}),
        lifespan=[lambda _: _fresh(keys)],
        openapi_config=None,
        logging_config=None,
        # Inside the layer that `app.service` puts around: it says which exception was behind a 500.
        plugins=[TelemetryPlugin(resources.telemetry)],
    )
    return ClientAddress(SecurityHeaders(application), settings.http)


def openapi() -> bytes:
    """Return the OpenAPI document of the edge API as JSON."""
    return describe(ROUTES, dto=StrictBody, return_dto=None)


def _documentation() -> Any:
    document = openapi()

    @get("/openapi.json", sync_to_thread=False, include_in_schema=False)
    def openapi_json() -> Response[bytes]:
        return Response(document, media_type="application/json")

    return openapi_json


async def _fetch_keys(services: Backends) -> str:
    answer = await services.call(services.users.GetJwks, GetJwksRequest())
    text: str = answer.json
    return text


@contextlib.asynccontextmanager
async def _fresh(keys: KeyCache) -> AsyncIterator[None]:
    """Keep the keys fresh as long as the application runs."""
    task = asyncio.create_task(keys.keep_fresh())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


app = create_service("gateway", redis=True, public=edge)
