"""What the ways through a request share, in Python (`telemetry.asgi`) and compiled."""

from collections.abc import Awaitable
from typing import Any, Final

from .request import RequestRecord

# Where the request's record is found in its scope; also the sign that a layer further out has taken it.
SCOPE_KEY: Final = "goshop.telemetry.request"
# FastAPI (0.165) starts a server span of its own, in a trace of its own, wherever a provider is set up; with this key in the
# scope it leaves that to whoever is further out.
FASTAPI_KEY: Final = "fastapi.telemetry"


async def awaiting(awaitable: Awaitable[Any]) -> Any:
    """Await what is no coroutine."""
    return await awaitable


async def handle(request: RequestRecord, error: BaseException) -> None:
    """Note what left the application while it is the exception being handled; does not raise it."""
    context, traceback = error.__context__, error.__traceback__
    try:
        raise error  # noqa: TRY301 - it was raised elsewhere, and goes the way of one that is raised here
    except BaseException as raised:  # noqa: BLE001 - whoever drives this raises it on
        # `raise` has written to both; the exception is to go on as it came.
        raised.__context__, raised.__traceback__ = context, traceback
        await request.failed(raised)
    finally:
        # Else this frame and the exception's traceback hold each other.
        del error, context, traceback
