"""What every routed request passes before its body is read: the deadline, who is calling, and the caller's token bucket."""

import asyncio
from collections.abc import Iterable
from math import ceil
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send

from app import deadline, identity
from app.errors import DeadlineExceeded, RequestTimeout, Unauthenticated
from app.gateway.authentication import Authenticator
from app.gateway.rate_limit import Allowance, TokenBuckets, address_key
from app.identity import Caller

# An API answers data: no page may frame it, sniff it or run it, and no cache may keep it for somebody else.
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)

Headers = tuple[tuple[bytes, bytes], ...]


class Admission:
    """Lets a request in as the caller that its token proves, when that caller's bucket has a token.

    All of it takes `seconds` at most, its body `body_seconds`.
    """

    def __init__(
        self, authenticator: Authenticator, buckets: TokenBuckets, seconds: float, body_seconds: float
    ) -> None:
        self._authenticator = authenticator
        self._buckets = buckets
        self._seconds = seconds
        self._body_seconds = body_seconds

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """Wrap a route."""

        async def admit(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                # The calls inside shrink with the deadline; the time-out ends what makes none.
                with deadline.within(self._seconds):
                    async with asyncio.timeout(self._seconds):
                        await self._serve(app, scope, in_time(receive, self._body_seconds), send)
            except TimeoutError:
                raise DeadlineExceeded("the request ran out of time") from None

        return admit

    async def _serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        caller, allowance = await self._admit(scope)
        token = identity.enter(caller)
        try:
            await app(scope, receive, send if allowance is None else with_headers(send, self._describe(allowance)))
        finally:
            identity.leave(token)

    async def _admit(self, scope: Scope) -> tuple[Caller, Allowance | None]:
        address = address_key(scope["client"][0] if scope["client"] else "")
        try:
            caller = await self._authenticator.caller(_authorization(scope["headers"]))
        except Unauthenticated:
            # Guessing tokens costs the guesser's address.
            await self._buckets.take(address)
            raise
        return caller, await self._buckets.take(f"subject:{caller.subject}" if caller.subject else address)

    def _describe(self, allowance: Allowance) -> Headers:
        left = b'"bucket";r=%d;t=%d' % (allowance.left, ceil(allowance.wait))
        return ((b"ratelimit-policy", self._buckets.policy), (b"ratelimit", left))


def _authorization(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    found = [value for name, value in headers if name == b"authorization"]
    if not found:
        return None
    if len(found) > 1:
        raise Unauthenticated("there is more than one Authorization header")
    return found[0].decode("latin-1")


def with_headers(send: Send, headers: Headers) -> Send:
    """Return a `send` that adds headers to the answer."""

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return add


def in_time(receive: Receive, seconds: float) -> Receive:
    """Return a `receive` that raises `RequestTimeout` when the body is not complete in `seconds` from now."""
    ends = asyncio.get_running_loop().time() + seconds
    complete = False

    async def hurry() -> ReceiveMessage:
        nonlocal complete
        try:
            # What comes after the body is only that the client has left.
            async with asyncio.timeout_at(None if complete else ends):
                message = await receive()
        except TimeoutError:
            raise RequestTimeout("the body did not come in time") from None
        complete = message["type"] != "http.request" or not message.get("more_body")
        return message

    return hurry


class SecurityHeaders:
    """Adds what protects browsers to every answer, also to those of no route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        await self._app(
            scope, receive, with_headers(send, SECURITY_HEADERS) if scope["type"] == ScopeType.HTTP else send
        )
